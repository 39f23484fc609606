"""deSEC: dyndns2's words for addresses, a REST API for the rest.

desec.readthedocs.io: dyndns/update-api, dns/rrsets, dns/domains. The token goes into a header,
since deSEC logs URLs. An address family that is empty in an update is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.ddns.dyndns2 import parse_words
from services.ddns.outcome import Kind, Outcome, RefusalError
from services.ddns.provider import Account, Provider
from services.ddns.web import Reply, Web
from services.wan import WanAddresses

NOT_FOUND = 404


@dataclass(frozen=True, kw_only=True)
class DeSec:
    account: Account
    provider: Provider

    def update(self, addresses: WanAddresses) -> Outcome:
        params = {
            "hostname": self.account.name,
            "myipv4": addresses.ipv4 or "",
            "myipv6": addresses.ipv6 or "",
        }
        reply = self._ask("GET", self.provider.endpoint, params=params)
        return parse_words(reply)

    def set_txt(self, name: str, value: str) -> Outcome:
        return self._change_txt(name, add=value)

    def clear_txt(self, name: str, value: str) -> Outcome:
        return self._change_txt(name, remove=value)

    def set_alias(self, name: str, target: str) -> Outcome:
        domain = self._domain(name)
        return self._put(domain, name, "CNAME", [f"{target}."])

    def check_account(self) -> Outcome:
        domain = self._domain(self.account.name)
        return Outcome(kind=Kind.GOOD, said=f"the token sees {domain['name']}")

    def _change_txt(self, name: str, *, add: str = "", remove: str = "") -> Outcome:
        domain = self._domain(name)
        sub = _subname(domain, name) or "@"
        url = f"{self.provider.api}/domains/{domain['name']}/rrsets/{sub}/TXT/"
        reply = self._ask("GET", url, may_lack=True)
        before = [] if reply.status == NOT_FOUND else list(reply.json()["records"])
        records = [record for record in before if record != f'"{remove}"']
        if add and f'"{add}"' not in records:
            records.append(f'"{add}"')
        if records == before:
            return Outcome(kind=Kind.UNCHANGED)
        return self._put(domain, name, "TXT", records)

    def _put(self, domain: dict[str, Any], name: str, kind: str, records: list[str]) -> Outcome:
        """A list of one: only so does deSEC make a record set that is not there yet."""
        url = f"{self.provider.api}/domains/{domain['name']}/rrsets/"
        record_set = {
            "subname": _subname(domain, name),
            "type": kind,
            "ttl": domain["minimum_ttl"],
            "records": records,
        }
        reply = self._ask("PUT", url, json=[record_set])
        return Outcome(kind=Kind.GOOD, said=reply.said)

    def _domain(self, name: str) -> dict[str, Any]:
        url = f"{self.provider.api}/domains/"
        found = self._ask("GET", url, params={"owns_qname": name}).json()
        if not found:
            raise RefusalError(Kind.NOHOST, f"the token sees no domain that holds {name}")
        first: dict[str, Any] = found[0]
        return first

    def _ask(self, method: str, url: str, *, may_lack: bool = False, **rest: Any) -> Reply:
        authorization = f"Token {self.account.secret}"
        reply = Web(self.account).ask(method, url, authorization=authorization, **rest)
        return reply.require(NOT_FOUND) if may_lack else reply.require()


def _subname(domain: dict[str, Any], name: str) -> str:
    return name.removesuffix(str(domain["name"])).rstrip(".")
