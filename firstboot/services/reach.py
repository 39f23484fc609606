"""What the job about ports and addresses leaves behind, for the pages, doctor and other jobs."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.address import Finding
from services.echo import Echo
from services.explanation import Explanation
from services.moment import Moment
from services.portmap.causes import EXPLANATIONS
from services.portmap.contract import State
from services.wan import WanAddresses

PORTMAP = "portmap"
NOT_YET = Explanation(
    sentence="No port is open yet.", next_step="nothing to do: it goes on by itself"
)


@dataclass(frozen=True, kw_only=True)
class PortmapResult:
    """``pinholes`` is the same for our IPv6 address."""

    ports: State = field(default_factory=State)
    pinholes: State = field(default_factory=State)


def find_obstacle(ports: State, port: int) -> Explanation | None:
    """Why ``port`` of the router is not open, with what to do; None when it is.

    What the router said of this port counts more than what it said of the others.
    """
    if any(held.port.external == port for held in ports.held):
        return None
    problems = sorted(ports.problems, key=lambda one: one.port.external != port)
    return EXPLANATIONS[problems[0].cause] if problems else NOT_YET


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
