"""Our own server on the loopback: door, router and tester, each of which can be made to fail."""

from __future__ import annotations

from typing import Any

from services.federation.fetch import Web
from services.federation.inside import Eyes
from services.federation.keys import PATH as KEYS
from services.federation.version import PATH as VERSION
from services.federation.wellknown import PATH as WELL_KNOWN
from services.names import PublicNames
from unit.services.federation.bench import Bench, Page, Site, page
from unit.services.federation.test_keys import publish

NAME = "home.example.org"
OURS = "203.0.113.7"
NAMES = PublicNames(server=NAME, homeserver=f"matrix.{NAME}", client=f"chat.{NAME}")


class Home:
    """``door`` is what routers lead to; ``hairpin`` whether our address leads back in."""

    def __init__(self, bench: Bench, now: float) -> None:
        self.bench = bench
        self.door: Site = bench.serve(("127.0.0.1", 8443), names=NAMES.all)
        self.door.pages |= {
            WELL_KNOWN: page({"m.server": f"matrix.{NAME}:443"}),
            KEYS: page(publish(NAME, until=now + 86400)),
            VERSION: page({"server": {"name": "Synapse", "version": "1.163.2"}}),
        }
        for name in NAMES.all:
            bench.name(name, OURS)
        self.hairpin()

    def hairpin(self, *, works: bool = True) -> None:
        if works:
            self.bench.silent.discard(OURS)
            self.bench.roads[OURS, 443] = self.door
        else:
            self.bench.silent.add(OURS)

    def starting(self) -> None:
        """What nginx says while the homeserver is not there yet."""
        body = {"errcode": "M_UNKNOWN", "error": "The homeserver is starting"}
        self.door.pages[KEYS] = page(body, status=503)

    def eyes(self) -> Eyes:
        door = Web(
            dial=self.bench.dial, context=self.bench.trust, seconds=3.0,
            may_dial=lambda address: address == "127.0.0.1",
        )  # fmt: skip
        return Eyes(world=self.bench.web, door=door, lookup=self.bench.lookup)


def gone(home: Home) -> None:
    del home.bench.roads["127.0.0.1", 8443]


def spoil_well_known(home: Home) -> None:
    home.door.pages[WELL_KNOWN] = Page(body=b"<html>It works!</html>")


def spoil_keys(home: Home) -> None:
    table: dict[str, Any] = publish(NAME)
    home.door.pages[KEYS] = page({**table, "server_name": "other.example.org"})


def other_certificate(home: Home) -> None:
    home.bench.roads["127.0.0.1", 8443] = home.bench.serve(("x", 1), names=["router.lan"])


def lead(home: Home, address: str) -> None:
    for name in NAMES.all:
        home.bench.name(name, *([address] if address else []))
