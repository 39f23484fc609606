"""Namecheap: one GET, an XML answer, IPv4 only (namecheap.com/support, article 29)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.ddns.outcome import Kind, Outcome, RefusalError
from services.ddns.provider import Account, Provider
from services.ddns.web import Web
from services.suffix import load_suffixes
from services.wan import WanAddresses

# Their texts; the numbers beside them are not documented.
CAUSES = (
    ("password", Kind.BADAUTH),
    ("domain name not found", Kind.NOHOST),
    ("no records", Kind.NOHOST),
    ("domain name not active", Kind.INACTIVE),
    ("too many", Kind.LIMITED),
)


@dataclass(frozen=True, kw_only=True)
class Namecheap:
    account: Account
    provider: Provider

    def update(self, addresses: WanAddresses) -> Outcome:
        host, domain = self._split()
        params = {
            "host": host,
            "domain": domain,
            "password": self.account.secret,
            "ip": addresses.ipv4 or "",
        }
        reply = Web(self.account).ask("GET", self.provider.endpoint, params=params)
        # A regular expression and not an XML parser: the answer calls itself UTF-16 and is not.
        count = re.search(r"<ErrCount>(\d+)</ErrCount>", reply.words)
        if count is None:
            raise reply.unexpected()
        if int(count[1]) == 0:
            return Outcome(kind=Kind.GOOD, said="ErrCount 0")
        texts = re.findall(r"<Err\d+>(.*?)</Err\d+>", reply.words, re.DOTALL)
        for word, kind in CAUSES:
            if any(word in text.lower() for text in texts):
                raise RefusalError(kind, reply.said)
        raise RefusalError(Kind.REFUSED, reply.said)

    def check_account(self) -> Outcome:
        self._split()
        return Outcome(kind=Kind.UNTOLD)

    def _split(self) -> tuple[str, str]:
        name = self.account.name
        domain = load_suffixes().registered_domain(name)
        if domain is None:
            raise RefusalError(Kind.NOTFQDN, f"{name} is not in a registered domain")
        return name.removesuffix(domain).rstrip(".") or "@", domain
