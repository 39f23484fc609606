"""Which of the three protocols a router speaks, asked at the same time, best first."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from services.portmap.causes import Refused
from services.portmap.igd import SEARCH_MS, Igd
from services.portmap.mapper import Mapper, Sign
from services.portmap.natpmp import NatPmp
from services.portmap.pcp import Pcp
from services.portmap.place import Place

MACHINE_ID = Path("/etc/machine-id")
Maker = Callable[[], Mapper]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A router's answer by one protocol, or its refusal. Whoever gets ``mapper`` closes it.

    ``heard`` is when it came (monotonic): others may take seconds more, and the router's own count
    of seconds is compared with this.
    """

    name: str
    mapper: Mapper | None = None
    sign: Sign | None = None
    refused: Refused | None = None
    requests: int = 0
    heard: float = 0.0


def makers(
    place: Place, *, former: tuple[str, ...] = (), search_ms: int = SEARCH_MS
) -> dict[str, Maker]:
    """In the order of preference: PCP can give back its own, UPnP has the most faults."""
    return {
        "pcp": lambda: Pcp(place.gateway, machine_id=machine_id(), source=place.lan),
        "nat-pmp": lambda: NatPmp(place.gateway, source=place.lan),
        "igd": lambda: Igd(place.gateway, former=former, search_ms=search_ms),
    }


def makers6(place: Place) -> dict[str, Maker]:
    """Pinholes in an IPv6 firewall: only PCP opens them, asked from the address itself."""
    return {"pcp": lambda: Pcp(place.gateway6, machine_id=machine_id(), source=place.ipv6)}


def machine_id() -> str:
    try:
        return MACHINE_ID.read_text().strip()
    except OSError:
        return ""


def search(ways: dict[str, Maker], now: Callable[[], float] = time.monotonic) -> tuple[Found, ...]:
    """One answer a protocol, in the order of ``ways``; takes as long as the slowest."""
    with ThreadPoolExecutor(max_workers=len(ways)) as pool:
        return tuple(pool.map(lambda way: try_one(way[0], way[1], now), ways.items()))


def try_one(name: str, make: Maker, now: Callable[[], float] = time.monotonic) -> Found:
    try:
        mapper = make()
    except Refused as error:
        return Found(name=name, refused=error)
    try:
        sign = mapper.discover()
        return Found(name=name, mapper=mapper, sign=sign, heard=now())
    except Refused as error:
        requests = mapper.requests
        mapper.close()
        return Found(name=name, refused=error, requests=requests)
    except BaseException:
        mapper.close()
        raise
