"""What DDNS providers remember of their clients: names, requests, and every breach of contract."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

DAY = 86400.0
FAMILIES = ("A", "AAAA")

Publish = Callable[[str, str, tuple[str, ...]], None]


def publish_nothing(_name: str, _kind: str, _values: tuple[str, ...]) -> None:
    """For tests that have no name server beside them."""


@dataclass
class Entry:
    """One name, its records, and when its addresses were last set."""

    records: dict[str, tuple[str, ...]] = field(default_factory=dict)
    set_at: float = -1e9


@dataclass(kw_only=True)
class Ledger:
    """Shared by the endpoints of one world. ``mode`` is the weather: see ddns_endpoints.MODES.

    ``takes_private``: a name may lead to a home network, which Dyn's policies forbid.

    A breach is what a real provider would block an account for; tests end with ``breaches == []``.
    """

    user: str = "anna"
    secret: str = "a-secret-of-annas"
    names: dict[str, Entry] = field(default_factory=dict)
    mode: str = "fine"
    now: Callable[[], float] = time.time
    publish: Publish = publish_nothing
    min_interval: float = 0.0
    takes_private: bool = False
    refusals: list[str] = field(default_factory=list)
    requests: list[tuple[float, str]] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    silent_until: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def came(self, what: str, agent: str) -> None:
        """A request has come in; ``what`` carries no secrets."""
        self.requests.append((self.now(), what))
        if "Hearth" not in agent or "@" not in agent:
            self.breaches.append(f"User-Agent {agent!r} names neither program nor contact")
        if self.now() < self.silent_until:
            self.breaches.append(f"{what} within the time that it was asked to be silent")
        if self.refusals:
            self.breaches.append(f"{what} after {self.refusals[-1]}")

    def refuse(self, word: str) -> str:
        """Say a word after which a client must stop."""
        self.refusals.append(word)
        return word

    def be_left_alone(self, seconds: float) -> None:
        self.silent_until = self.now() + seconds

    def forgive(self) -> None:
        """The owner has acted."""
        self.refusals.clear()

    def set_addresses(self, name: str, given: dict[str, str | None]) -> bool:
        """Take an update; whether anything changed. ``None`` deletes, what is missing stays."""
        with self.lock:
            entry, now = self.names[name], self.now()
            for address in given.values():
                if address and not self.takes_private and not _is_public(address):
                    self.breaches.append(f"{address} is no public address")
            if self.updates and now - self.updates[-1] < self.min_interval:
                pause = now - self.updates[-1]
                self.breaches.append(f"{name} updated {pause:.0f} s after the last time")
            self.updates.append(now)
            after = {kind: (address,) if address else () for kind, address in given.items()}
            is_new = any(entry.records.get(kind, ()) != value for kind, value in after.items())
            if not is_new and now - entry.set_at < 28 * DAY:
                self.breaches.append(f"{name} updated with what it has, {given}")
            entry.set_at = now
            for kind, value in after.items():
                self.set_records(name, kind, value)
            return is_new

    def set_records(self, name: str, kind: str, values: tuple[str, ...]) -> None:
        with self.lock:
            self.names.setdefault(name, Entry()).records[kind] = values
            self.publish(name, kind, values)

    def addresses(self, name: str) -> tuple[str, ...]:
        records = self.names[name].records
        return tuple(value for kind in FAMILIES for value in records.get(kind, ()))


def _is_public(address: str) -> bool:
    """Documentation ranges pass: the world lives in them."""
    parsed = ipaddress.ip_address(address)
    shared = ipaddress.ip_network("100.64.0.0/10")
    private = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
    return not (
        parsed.is_loopback
        or parsed.is_link_local
        or parsed in shared
        or any(parsed in ipaddress.ip_network(text) for text in private)
    )
