"""What the job about ports and addresses leaves behind, for the pages, doctor and other jobs."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.address import Finding
from services.echo import Echo
from services.moment import Moment
from services.portmap.contract import State
from services.wan import WanAddresses

PORTMAP = "portmap"


@dataclass(frozen=True, kw_only=True)
class PortmapResult:
    """``pinholes`` is the same for our IPv6 address."""

    ports: State = field(default_factory=State)
    pinholes: State = field(default_factory=State)


@dataclass(frozen=True, kw_only=True)
class AddressResult:
    """``wan`` is what services.wan reads for everybody else.

    ``asked`` is when the echo services were, as a date (time(2)); ``router_wan`` was then so.
    ``noted`` tells which clock that date is of.
    """

    finding: Finding
    wan: WanAddresses
    asked: float
    router_wan: str
    noted: Moment = field(default_factory=Moment)
    echoes: tuple[Echo, ...] = ()
    echoes6: tuple[Echo, ...] = ()
