"""FreeDNS: a list of update addresses for the account, and a GET of the one for our name.

freedns.afraid.org/api: the account's key is the SHA-1 of user|password, which makes it as secret
as these; so are the update addresses.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.ddns.outcome import Kind, Outcome, RefusalError
from services.ddns.provider import Account, Provider
from services.ddns.web import Web
from services.wan import WanAddresses

COLUMNS = 3


@dataclass(frozen=True, kw_only=True)
class FreeDns:
    account: Account
    provider: Provider

    def update(self, addresses: WanAddresses) -> Outcome:
        url = self._update_address()
        web = Web(self.account, secrets=(self._key(), urlsplit(url).query))
        reply = web.ask("GET", f"{url}&address={addresses.ipv4 or ''}")
        text = reply.text.strip()
        if "has not changed" in text:
            return Outcome(kind=Kind.UNCHANGED, said=reply.said)
        if text.startswith("Updated"):
            return Outcome(kind=Kind.GOOD, said=reply.said)
        if text.startswith("ERROR"):
            kind = Kind.BADAUTH if "authenticate" in text.lower() else Kind.REFUSED
            raise RefusalError(kind, reply.said)
        raise reply.unexpected()

    def check_account(self) -> Outcome:
        self._update_address()
        return Outcome(kind=Kind.GOOD, said="the account has this name")

    def _update_address(self) -> str:
        params = {"action": "getdyndns", "v": "2", "sha": self._key()}
        web = Web(self.account, secrets=(self._key(),))
        reply = web.ask("GET", self.provider.endpoint, params=params)
        if "could not authenticate" in reply.text.lower():
            raise RefusalError(Kind.BADAUTH, reply.said)
        rows = [line.split("|") for line in reply.text.split()]
        if reply.is_page or any(len(row) < COLUMNS for row in rows):
            raise reply.unexpected()
        home = urlsplit(self.provider.endpoint)
        for row in rows:
            if row[0].lower() == self.account.name:
                found = urlsplit(row[2])
                # The list may say http; the key in it must not travel in clear or elsewhere.
                return found._replace(scheme=home.scheme, netloc=home.netloc).geturl()
        raise RefusalError(Kind.NOHOST, f"the account has no dynamic name {self.account.name}")

    def _key(self) -> str:
        pair = f"{self.account.username}|{self.account.secret}"
        return hashlib.sha1(pair.encode(), usedforsecurity=False).hexdigest()
