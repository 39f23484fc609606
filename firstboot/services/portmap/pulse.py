"""The smallest question that shows whether a router is still as it was, in each protocol.

Routers that announce nothing (services.portmap.news) are found out by it. Of NAT-PMP and PCP one
packet of a few bytes; of UPnP two calls, since only its table shows that it has forgotten us: an
uptime is what some routers invent.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance.deadline import Clock
from appliance.log import logger
from services.portmap.causes import Cause, Refused
from services.portmap.mapper import HTTPS, Mapper
from services.portmap.news import Life
from services.portmap.place import Place

# The cheapest first; NAT-PMP also tells the address.
WAYS = ("nat-pmp", "pcp", "igd")
# A way that has been silent so often is given up, and then all are looked for every ten minutes.
SILENT_ASKS = 4
SEARCH_PAUSE = 600.0
SEARCH_MS = 1000
# Other refusals are a router's that does speak, only not of its address now.
MUTE = (Cause.SILENT, Cause.UNSUPPORTED, Cause.GARBLED)

Make = Callable[[str, Place], Mapper]


def make_mapper(way: str, place: Place) -> Mapper:
    """Raises Refused where there is no way to send anything. Loaded one by one: it stays small."""
    match way:
        case "nat-pmp":
            from services.portmap.natpmp import NatPmp

            return NatPmp(place.gateway, source=place.lan)
        case "pcp":
            from services.portmap.pcp import Pcp

            # The identity is for mappings, and here nothing is mapped.
            return Pcp(place.gateway, machine_id="", source=place.lan)
        case _:
            from services.portmap.igd import Igd

            return Igd(place.gateway, search_ms=SEARCH_MS)


class Pulse:
    """Asks by the way that answered last, and looks for one where none does."""

    def __init__(self, *, make: Make = make_mapper, clock: Clock = time) -> None:
        self._make = make
        self._clock = clock
        self._place = Place()
        self._way = ""
        self._mapper: Mapper | None = None
        self._silent = 0
        self._search_at = float("-inf")

    def move(self, place: Place) -> None:
        """Another router, or another address of ours: what was known is of no use."""
        self._give_up()
        self._place, self._search_at = place, float("-inf")

    def ask(self) -> Life | None:
        """The router's life as it shows now; None where it says nothing."""
        if not self._place.gateway:
            return None
        if not self._way:
            return self._search()
        try:
            life = self._try(self._way)
        except Refused as refusal:
            self._silent = self._silent + 1 if refusal.cause in MUTE else 0
            if self._silent < SILENT_ASKS:
                return None
            self._give_up()
            return self._search()
        self._silent = 0
        return life

    def close(self) -> None:
        if self._mapper is not None:
            self._mapper.close()
            self._mapper = None

    def _search(self) -> Life | None:
        now = self._clock.monotonic()
        if now < self._search_at:
            return None
        for way in WAYS:
            try:
                life = self._try(way)
            except Refused as refusal:
                if refusal.cause in MUTE:
                    continue
                life = None
            self._way = way
            logger.info("the router is asked by %s from now on", way)
            return life
        self._search_at = now + SEARCH_PAUSE
        return None

    def _give_up(self) -> None:
        self.close()
        self._way, self._silent = "", 0

    def _try(self, way: str) -> Life:
        """Raises Refused. The mapper is kept: UPnP's has found the router, and runs a helper."""
        try:
            mapper = self._mapper = self._mapper or self._make(way, self._place)
            if way == "igd":
                return self._ask_table(mapper)
            sign = mapper.discover()
        except Refused:
            self.close()
            raise
        return Life(address=sign.address or "", epoch=sign.epoch, heard=self._clock.monotonic())

    def _ask_table(self, mapper: Mapper) -> Life:
        """443 is the port that matters most, and the one that nearly everybody holds."""
        address = mapper.external_address()
        found = mapper.holders((HTTPS,)) or ()
        lines = frozenset((entry.external, entry.client, entry.internal) for entry in found)
        return Life(address=address or "", lines=lines, heard=self._clock.monotonic())
