"""DuckDNS: one GET with the token in it; one TXT value for the name and all beneath it.

www.duckdns.org/spec.jsp. certbot#6496, acme.sh#3151: a second TXT value replaces the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.ddns.outcome import Kind, Outcome, RefusalError
from services.ddns.provider import Account, Provider
from services.ddns.web import Web
from services.wan import WanAddresses

SUFFIX = ".duckdns.org"


@dataclass(frozen=True, kw_only=True)
class DuckDns:
    account: Account
    provider: Provider

    def update(self, addresses: WanAddresses) -> Outcome:
        # With ipv6 given, DuckDNS no longer takes a missing ip from the sender's address.
        params = {"ip": addresses.ipv4, "ipv6": addresses.ipv6}
        return self._ask({key: value for key, value in params.items() if value})

    def set_txt(self, name: str, value: str) -> Outcome:
        self._require_mine(name)
        return self._ask({"txt": value})

    def clear_txt(self, name: str, value: str) -> Outcome:
        self._require_mine(name)
        return self._ask({"txt": value, "clear": "true"})

    def check_account(self) -> Outcome:
        """There is no way to ask: a request without an address sets one."""
        self._domain()
        return Outcome(kind=Kind.UNTOLD)

    def _ask(self, params: dict[str, str]) -> Outcome:
        account = {"domains": self._domain(), "token": self.account.secret, "verbose": "true"}
        reply = Web(self.account).ask("GET", self.provider.endpoint, params={**account, **params})
        words = reply.text.split()
        if words[:1] == ["KO"]:
            # One word for a wrong token and for a name that is not ours.
            message = "KO: the token or the name is wrong"
            raise RefusalError(Kind.BADAUTH, message)
        if words[:1] != ["OK"]:
            raise reply.unexpected()
        kind = Kind.UNCHANGED if "NOCHANGE" in words else Kind.GOOD
        return Outcome(kind=kind, said=reply.said)

    def _domain(self) -> str:
        """The label that the account has; names beneath it come with it."""
        name = self.account.name
        if not name.endswith(SUFFIX) or not name.removesuffix(SUFFIX):
            raise RefusalError(Kind.NOTFQDN, f"names at DuckDNS end in {SUFFIX}")
        return name.removesuffix(SUFFIX).rpartition(".")[2]

    def _require_mine(self, name: str) -> None:
        if not name.endswith(f".{self._domain()}{SUFFIX}"):
            raise RefusalError(Kind.NOTYOURS, name)
