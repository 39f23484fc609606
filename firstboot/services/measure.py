"""What the verdict is made of, measured at the same time: router, echo services, IPv6."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from services.address import Facts
from services.echo import Echo, ask_services, services
from services.portmap.causes import Cause, Refused
from services.portmap.place import Place, find_place
from services.portmap.search import Found, Maker, makers, search

# A verdict is due within 10 s: half of what the recurring job gives a router that answers late.
SEARCH_MS = 1000


def measure(ways: dict[str, Maker] | None = None) -> Facts:
    """Everything anew; takes about six seconds where a router is silent, else about two."""
    place = find_place()
    if ways is None:
        ways = makers(place, search_ms=SEARCH_MS) if place.gateway else {}
    with ThreadPoolExecutor(max_workers=2) as pool:
        router = pool.submit(ask_router, ways)
        echoes = pool.submit(ask_echoes, place)
        return replace(
            router.result(),
            lan=place.lan,
            gateway=place.gateway,
            ipv6=place.ipv6,
            echoes=echoes.result()[0],
            echoes6=echoes.result()[1],
        )


def ask_router(ways: dict[str, Maker]) -> Facts:
    """Which protocol it speaks, and its outside as it says itself."""
    found = search(ways) if ways else ()
    try:
        speaking = [one for one in found if one.mapper is not None]
        if not speaking:
            return Facts(refusal=Cause.SILENT)
        address, refusal = _outside(speaking)
        return Facts(protocol=speaking[0].name, router_wan=address, refusal=refusal)
    finally:
        for one in found:
            if one.mapper is not None:
                one.mapper.close()


def ask_echoes(place: Place) -> tuple[tuple[Echo, ...], tuple[Echo, ...]]:
    """By IPv4 and by IPv6, as far as there is one."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        four = pool.submit(ask_services, services(4) if place.gateway else (), 4)
        six = pool.submit(ask_services, services(6) if place.ipv6 else (), 6)
        return four.result(), six.result()


def _outside(speaking: list[Found]) -> tuple[str, Cause | None]:
    """The first that tells an address; PCP does so only with a mapping, which it may refuse."""
    refusal: Cause | None = None
    told = next((one.sign.address for one in speaking if one.sign and one.sign.address), None)
    if told is not None:
        return told, None
    for one in speaking:
        assert one.mapper is not None
        try:
            address = one.mapper.external_address()
        except Refused as error:
            refusal = error.cause
            continue
        if address:
            return address, None
    return "", refusal
