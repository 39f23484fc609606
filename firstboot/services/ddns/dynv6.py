"""dynv6: a GET for addresses (dynv6.com/docs/apis), a REST API for the rest (dynv6.github.io)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.ddns.outcome import Kind, Outcome, RefusalError
from services.ddns.provider import Account, Provider
from services.ddns.web import Reply, Web, zones_above
from services.wan import WanAddresses

OK = 200
NOT_FOUND = 404


@dataclass(frozen=True, kw_only=True)
class Dynv6:
    account: Account
    provider: Provider

    def update(self, addresses: WanAddresses) -> Outcome:
        params = {"zone": self.account.name, "token": self.account.secret}
        # A family that is not given stays as it is.
        given = {"ipv4": addresses.ipv4, "ipv6": addresses.ipv6}
        params.update({key: value for key, value in given.items() if value})
        url = f"{self.provider.endpoint}/api/update"
        reply = Web(self.account).ask("GET", url, params=params)
        if reply.status == OK and "addresses unchanged" in reply.text:
            return Outcome(kind=Kind.UNCHANGED, said=reply.said)
        if reply.status == OK and "addresses updated" in reply.text:
            return Outcome(kind=Kind.GOOD, said=reply.said)
        if reply.status == NOT_FOUND:
            raise RefusalError(Kind.NOHOST, reply.said)
        raise reply.unexpected()

    def set_txt(self, name: str, value: str) -> Outcome:
        return self._add(name, "TXT", value)

    def clear_txt(self, name: str, value: str) -> Outcome:
        zone, label = self._zone(name)
        found = [one for one in self._records(zone) if _key(one) == (label, "TXT", value)]
        for record in found:
            self._ask("DELETE", f"/zones/{zone}/records/{record['id']}")
        return Outcome(kind=Kind.GOOD if found else Kind.UNCHANGED)

    def set_alias(self, name: str, target: str) -> Outcome:
        return self._add(name, "CNAME", target)

    def check_account(self) -> Outcome:
        zone, label = self._zone(self.account.name)
        if label:
            message = f"{self.account.name} is not a zone of its own"
            raise RefusalError(Kind.NOHOST, message)
        return Outcome(kind=Kind.GOOD, said=f"the token sees zone {zone}")

    def _add(self, name: str, kind: str, data: str) -> Outcome:
        zone, label = self._zone(name)
        if (label, kind, data) in map(_key, self._records(zone)):
            return Outcome(kind=Kind.UNCHANGED)
        record = {"type": kind, "name": label, "data": data}
        self._ask("POST", f"/zones/{zone}/records", json=record)
        return Outcome(kind=Kind.GOOD)

    def _zone(self, name: str) -> tuple[int, str]:
        """Number of the zone that holds the name, and the name's part within it."""
        for zone, label in zones_above(name):
            reply = self._ask("GET", f"/zones/by-name/{zone}", may_lack=True)
            if reply.status == OK:
                return int(reply.json()["id"]), label
        raise RefusalError(Kind.NOHOST, f"the token sees no zone that holds {name}")

    def _records(self, zone: int) -> list[dict[str, Any]]:
        return list(self._ask("GET", f"/zones/{zone}/records").json())

    def _ask(self, method: str, path: str, *, may_lack: bool = False, **rest: Any) -> Reply:
        url = f"{self.provider.endpoint}/api/v2{path}"
        authorization = f"Bearer {self.account.secret}"
        reply = Web(self.account).ask(method, url, authorization=authorization, **rest)
        return reply.require(NOT_FOUND) if may_lack else reply.require()


def _key(record: dict[str, Any]) -> tuple[str, str, str]:
    return str(record.get("name", "")), str(record.get("type", "")), str(record.get("data", ""))
