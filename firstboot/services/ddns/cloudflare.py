"""Cloudflare's API, version 4: records of a zone, found by name (developers.cloudflare.com/api)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.ddns.outcome import Kind, Outcome, RefusalError
from services.ddns.provider import Account, Provider
from services.ddns.web import Web, zones_above
from services.wan import WanAddresses

TTL = 60
# Invalid request headers, invalid token, authentication error: different words, one cause.
AUTH_CODES = frozenset({1000, 6003, 6111, 9109, 10000, 10001})
FORBIDDEN = (401, 403)


@dataclass(frozen=True, kw_only=True)
class Cloudflare:
    account: Account
    provider: Provider

    def update(self, addresses: WanAddresses) -> Outcome:
        zone, name = self._zone(self.account.name), self.account.name
        done = [
            self._set(zone, "A", name, addresses.ipv4),
            self._set(zone, "AAAA", name, addresses.ipv6),
        ]
        return Outcome(kind=Kind.GOOD if any(done) else Kind.UNCHANGED)

    def set_txt(self, name: str, value: str) -> Outcome:
        zone = self._zone(name)
        if _matching(self._records(zone, "TXT", name), value):
            return Outcome(kind=Kind.UNCHANGED)
        self._ask("POST", f"/zones/{zone}/dns_records", json=_record("TXT", name, f'"{value}"'))
        return Outcome(kind=Kind.GOOD)

    def clear_txt(self, name: str, value: str) -> Outcome:
        zone = self._zone(name)
        found = _matching(self._records(zone, "TXT", name), value)
        for record in found:
            self._ask("DELETE", f"/zones/{zone}/dns_records/{record['id']}")
        return Outcome(kind=Kind.GOOD if found else Kind.UNCHANGED)

    def set_alias(self, name: str, target: str) -> Outcome:
        changed = self._set(self._zone(name), "CNAME", name, target)
        return Outcome(kind=Kind.GOOD if changed else Kind.UNCHANGED)

    def check_account(self) -> Outcome:
        """A token that may read but not edit passes here; only a change would tell."""
        self._zone(self.account.name)
        return Outcome(kind=Kind.GOOD, said="the token sees the domain")

    def _set(self, zone: str, kind: str, name: str, content: str | None) -> bool:
        """Whether anything had to be changed."""
        found = self._records(zone, kind, name)
        if len(found) > 1:
            message = f"{name} has {len(found)} {kind} records; which one is ours?"
            raise RefusalError(Kind.REFUSED, message)
        url = f"/zones/{zone}/dns_records"
        if content is None:
            for record in found:
                self._ask("DELETE", f"{url}/{record['id']}")
            return bool(found)
        if not found:
            self._ask("POST", url, json=_record(kind, name, content))
            return True
        [record] = found
        if record["content"] == content and not record.get("proxied"):
            return False
        self._ask("PATCH", f"{url}/{record['id']}", json={"content": content, "proxied": False})
        return True

    def _zone(self, name: str) -> str:
        """The longest part of the name that is a zone of this token's."""
        for zone, _ in zones_above(name):
            found = self._ask("GET", "/zones", params={"name": zone})
            if found:
                return str(found[0]["id"])
        raise RefusalError(Kind.NOHOST, f"the token sees no domain that holds {name}")

    def _records(self, zone: str, kind: str, name: str) -> list[dict[str, Any]]:
        params = {"type": kind, "name": name}
        records = self._ask("GET", f"/zones/{zone}/dns_records", params=params)
        return list(records)

    def _ask(self, method: str, path: str, **rest: Any) -> Any:
        url = f"{self.provider.endpoint}{path}"
        authorization = f"Bearer {self.account.secret}"
        reply = Web(self.account).ask(method, url, authorization=authorization, **rest)
        if reply.status == 429 or reply.status >= 500 or reply.is_page:  # noqa: PLR2004
            raise reply.unexpected()
        answer = reply.json()
        if isinstance(answer, dict) and answer.get("success") is True:
            return answer.get("result")
        errors = answer.get("errors", []) if isinstance(answer, dict) else []
        codes = {error.get("code") for error in errors if isinstance(error, dict)}
        if reply.status in FORBIDDEN or codes & AUTH_CODES:
            raise RefusalError(Kind.BADAUTH, reply.said)
        raise RefusalError(Kind.REFUSED, reply.said) if codes else reply.unexpected()


def _record(kind: str, name: str, content: str) -> dict[str, Any]:
    record: dict[str, Any] = {"type": kind, "name": name, "content": content, "ttl": TTL}
    # Cloudflare's proxy serves neither port 8448 nor large media (synapse#16228).
    return record if kind == "TXT" else {**record, "proxied": False}


def _matching(records: list[dict[str, Any]], value: str) -> list[dict[str, Any]]:
    return [record for record in records if record["content"].strip('"') == value]
