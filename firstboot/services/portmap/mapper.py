"""What every protocol for opening ports offers, and the words that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

LEASE_SECONDS = 3600


@dataclass(frozen=True, kw_only=True, order=True)
class Port:
    """``external`` on the router leads to our ``internal``; all of them are TCP."""

    external: int
    internal: int


# To the public listeners only (architecture, section 6): never to the pages on 80 and 443.
HTTPS = Port(external=443, internal=8443)
PORTS = (Port(external=80, internal=8080), HTTPS, Port(external=8448, internal=8448))
# IPv6 has no translation in the router, so it is ours to lead what comes in to the same listeners
# (services.redirect).
PINHOLES = tuple(Port(external=port.external, internal=port.external) for port in PORTS)


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What a router tells about itself: seconds since its table was empty, and its outside."""

    epoch: int | None = None
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class Granted:
    """``lease`` in seconds; 0 is for good, or until the router restarts.

    ``listed``: the router's table shows it, so that its absence later means something.
    """

    lease: int
    address: str | None = None
    epoch: int | None = None
    listed: bool = False


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the router's table."""

    external: int
    client: str
    internal: int
    description: str = ""
    lease: int = 0


class Mapper(Protocol):
    """One way to ask a router. Every call may raise Refused, and ends within seconds."""

    @property
    def name(self) -> str: ...

    @property
    def requests(self) -> int:
        """How many packets or calls went out; what a contract allows is counted."""
        ...

    def discover(self) -> Sign:
        """Whether the router speaks this protocol, and since when."""
        ...

    def external_address(self) -> str | None:
        """The router's outside, as it says itself; None when it has none."""
        ...

    def map(self, port: Port, lease: int) -> Granted:
        """Open or renew. Never takes a port that somebody else holds."""
        ...

    def unmap(self, port: Port) -> None:
        """Close what we opened; nothing happens when it is closed already."""
        ...

    def holders(self, ports: tuple[Port, ...], /) -> tuple[Entry, ...] | None:
        """Who holds these ports; None where the protocol has no way to ask."""
        ...

    def close(self) -> None: ...
