"""Whether the router is there: a default route, and an answer from where it leads to.

The answer is the router's to "who has this address" (ARP, RFC 826; neighbour discovery, RFC 4861):
it shows that packets leave and come back, without asking anything of a machine beyond it.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import Any

from appliance.deadline import Deadline
from appliance.errors import CommandError
from appliance.run import run
from services.health.result import CheckResult, Examination, failed, passed

ASK_SECONDS = 20
ANSWER_SECONDS, LOOK_SECONDS = 3.0, 0.3
FAMILIES = {"-4": socket.AF_INET, "-6": socket.AF_INET6}
DISCARD = 9  # RFC 863: whatever is sent there, nobody answers
# ip-neighbour(8): has a link-layer address that was right a moment ago, or is being confirmed.
REACHED = {"REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT", "NOARP"}
FAILED = "FAILED"


@dataclass(frozen=True, kw_only=True)
class Route:
    """``gateway`` is empty for a route that leads straight onto a link."""

    family: str
    gateway: str
    device: str


@dataclass(frozen=True)
class RouteCheck:
    name: str = "router"
    title: str = "Home network"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        hint = "is the cable plugged in at both ends?"
        routes = [route for family in FAMILIES for route in default_routes(family)]
        if not routes:
            return failed("no default route: no router has told this device where to go", hint)
        silent = []
        for route in routes:
            if not route.gateway or is_neighbour(route):
                return passed(f"{route.gateway or route.device} on {route.device} answers")
            silent.append(route.gateway)
        return failed(f"the router does not answer: {', '.join(silent)}", hint)


def default_routes(family: str) -> tuple[Route, ...]:
    """By ip-route(8); ``family`` is "-4" or "-6"."""
    found = _ip(family, "route", "show", "default")
    return tuple(
        Route(family=family, gateway=str(entry.get("gateway", "")), device=str(entry.get("dev")))
        for entry in found
        if entry.get("dev")
    )


def is_neighbour(route: Route) -> bool:
    """Whether the kernel knows the gateway's link-layer address; a packet makes it ask."""
    _stir(route)
    deadline = Deadline(ANSWER_SECONDS)
    while not (states := _neighbour_states(route)) & REACHED:
        if deadline.expired or FAILED in states:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def _neighbour_states(route: Route) -> set[str]:
    found = _ip(route.family, "neigh", "show", "to", route.gateway, "dev", route.device)
    return {str(state) for entry in found for state in entry.get("state", ())}


def _stir(route: Route) -> None:
    """The neighbour is asked for before anything else can leave; what is sent does not matter."""
    family = FAMILIES[route.family]
    scope = f"%{route.device}" if route.gateway.startswith("fe80:") else ""
    try:
        found = socket.getaddrinfo(f"{route.gateway}{scope}", DISCARD, family, socket.SOCK_DGRAM)
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", found[0][4])
    except OSError:
        return  # the neighbour's state tells the rest


def _ip(family: str, *words: str) -> list[dict[str, Any]]:
    """``ip -json``'s answer. Raises CommandError, also when it is not what ip(8) promises."""
    said = run(["ip", "-json", family, *words], timeout=ASK_SECONDS).stdout
    try:
        found = json.loads(said or "[]")
    except ValueError as error:
        raise CommandError(f"ip {' '.join(words)} answers {said[:80]!r}") from error
    return [entry for entry in found if isinstance(entry, dict) and entry]
