"""Our own server as it can be seen from the inside: at its own front door, and by its public
addresses, which a router may or may not lead back in.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import NetworkError
from services.federation.fetch import CERTIFICATE_FAULTS, Fault, FetchError, Place, Web
from services.federation.keys import ServerKeys, fetch_keys
from services.federation.lookup import Lookup
from services.federation.resolve import Route, resolve
from services.federation.version import fetch_version
from services.federation.wellknown import (
    MAX_BODY,
    PATH,
    WellKnown,
    fetch_well_known,
    read_well_known,
)
from services.names import HTTPS, PublicNames

# Where routers lead port 443 to (overlays: nginx/public.conf.j2).
DOOR = ("127.0.0.1", 8443)
DOOR_SECONDS = 60.0  # a small board that has just started
# What a router without hairpin does with its own address from inside: nothing, a refusal, or its
# own page with its own certificate.
BLIND = (Fault.SILENT, Fault.REFUSED, Fault.UNREACHABLE, Fault.GARBLED, *CERTIFICATE_FAULTS)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A homeserver's answer at one place; ``fault`` and ``said`` when there was none."""

    place: Place
    keys: ServerKeys | None = None
    version: str = ""
    fault: Fault | None = None
    said: str = ""

    @property
    def is_good(self) -> bool:
        return self.fault is None and self.keys is not None and self.keys.flaw is None


@dataclass(frozen=True, kw_only=True)
class Inside:
    """``route`` is None, with ``dns_error``, where DNS gave no answer."""

    names: PublicNames
    door: Seen
    door_well_known: WellKnown
    well_known: WellKnown
    route: Route | None = None
    dns_error: str = ""
    seen: tuple[Seen, ...] = ()

    @property
    def comes_back(self) -> bool:
        """Whether our public addresses lead to us from here."""
        return any(one.is_good for one in self.seen)


@dataclass(frozen=True, kw_only=True)
class Eyes:
    """What is looked with: at the world, and at our own door, which has a private address."""

    world: Web
    door: Web
    lookup: Lookup
    door_at: tuple[str, int] = DOOR


def make_eyes() -> Eyes:
    door = Web(may_dial=lambda address: address == DOOR[0], seconds=DOOR_SECONDS)
    return Eyes(world=Web(), door=door, lookup=Lookup())


def look(web: Web, place: Place, name: str, *, now: float) -> Seen:
    """Keys and version at one place; never raises."""
    try:
        keys = fetch_keys(web, place, name, now=now)
        return Seen(place=place, keys=keys, version=fetch_version(web, place))
    except FetchError as error:
        return Seen(place=place, fault=error.fault, said=str(error))


def look_inside(eyes: Eyes, names: PublicNames, *, now: float) -> Inside:
    """All that can be seen from here, in less than a minute where nothing answers."""
    at_door = _door_well_known(eyes, names)
    address, port = eyes.door_at
    door_place = Place(address=address, port=port, name=names.homeserver, host=names.delegate)
    door = look(eyes.door, door_place, names.server, now=now)
    found = fetch_well_known(eyes.world, eyes.lookup, names.server)
    known = at_door if names.port == HTTPS and found.fault in BLIND else found
    try:
        route = resolve(eyes.world, eyes.lookup, names.server, known=known)
    except NetworkError as error:
        return Inside(
            names=names,
            door=door,
            door_well_known=at_door,
            well_known=found,
            dns_error=error.message,
        )
    seen = tuple(look(eyes.world, place, names.server, now=now) for place in route.places)
    return Inside(
        names=names,
        door=door,
        door_well_known=at_door,
        well_known=found,
        route=route,
        seen=seen,
    )


def _door_well_known(eyes: Eyes, names: PublicNames) -> WellKnown:
    address, port = eyes.door_at
    place = Place(address=address, port=port, name=names.server, host=names.server)
    try:
        reply = eyes.door.get(place, PATH, limit=MAX_BODY)
        return WellKnown(server=read_well_known(reply))
    except FetchError as error:
        return WellKnown(error=str(error), fault=error.fault)
