"""From a server name to addresses, ports, certificate name and Host header.

Matrix specification, server-server API, "Resolving server names"; the steps have its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.federation.fetch import Place, Web
from services.federation.lookup import Lookup, Service
from services.federation.servername import FEDERATION_PORT, ServerName, parse_server_name
from services.federation.wellknown import WellKnown, fetch_well_known

MAX_PLACES = 12


class Step(StrEnum):
    """The step that decided."""

    LITERAL = "1"
    PORT = "2"
    DELEGATED_LITERAL = "3.1"
    DELEGATED_PORT = "3.2"
    DELEGATED_SRV = "3.3"
    DELEGATED_OLD_SRV = "3.4"
    DELEGATED = "3.5"
    SRV = "4"
    OLD_SRV = "5"
    NAME = "6"


# Per whether there was a well-known: SRV, deprecated SRV, neither.
STEPS = {
    True: (Step.DELEGATED_SRV, Step.DELEGATED_OLD_SRV, Step.DELEGATED),
    False: (Step.SRV, Step.OLD_SRV, Step.NAME),
}


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where requests to ``name`` go. ``well_known`` is None where the steps do not ask for it.

    ``services`` are the SRV records found, with those that cannot be used.
    """

    name: str
    step: Step
    places: tuple[Place, ...]
    well_known: WellKnown | None = None
    services: tuple[Service, ...] = ()

    @property
    def delegate(self) -> str:
        """The name with its port, if it has one, that stands in for ``name``."""
        found = self.well_known.server if self.well_known else None
        return str(found) if found else self.name


def resolve(web: Web, lookup: Lookup, name: str, *, known: WellKnown | None = None) -> Route:
    """All six steps. ``known`` is taken in place of asking for the well-known.

    Raises ConfigError for what is no server name, NetworkError when DNS does not work here.
    """
    server = parse_server_name(name)
    if server.is_literal or server.port is not None:
        step = Step.LITERAL if server.is_literal else Step.PORT
        return Route(name=name, step=step, places=_places(lookup, server, server.port))
    found = known or fetch_well_known(web, lookup, server.host)
    delegate = found.server or server
    if delegate.is_literal or delegate.port is not None:
        step = Step.DELEGATED_LITERAL if delegate.is_literal else Step.DELEGATED_PORT
        places = _places(lookup, delegate, delegate.port)
        return Route(name=name, step=step, places=places, well_known=found)
    by_srv, by_old_srv, by_name = STEPS[found.server is not None]
    for kind, step in (("_matrix-fed", by_srv), ("_matrix", by_old_srv)):
        services = lookup.services(f"{kind}._tcp.{delegate.host}")
        if services:
            places = _service_places(lookup, delegate, services)
            return Route(
                name=name, step=step, places=places, well_known=found, services=services
            )  # fmt: skip
    places = _places(lookup, delegate, None)
    return Route(name=name, step=by_name, places=places, well_known=found)


def _places(lookup: Lookup, server: ServerName, port: int | None) -> tuple[Place, ...]:
    """The server itself; an address literal is its own address."""
    addresses = (server.host,) if server.is_literal else lookup.addresses(server.host)
    return tuple(
        Place(address=one, port=port or FEDERATION_PORT, name=server.host, host=str(server))
        for one in addresses
    )


def _service_places(
    lookup: Lookup, server: ServerName, services: tuple[Service, ...]
) -> tuple[Place, ...]:
    """The certificate and the Host header stay those of the name that has the SRV record."""
    places = [
        Place(address=address, port=service.port, name=server.host, host=str(server))
        for service in services
        if not service.problem
        for address in lookup.addresses(service.target)
    ]
    return tuple(places[:MAX_PLACES])
