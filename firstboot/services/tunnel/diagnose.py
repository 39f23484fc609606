"""Why the rented server does not answer through WireGuard: asked from outside of the tunnel.

WireGuard itself answers nobody without the right keys. But a machine whose port is closed says so
(ICMP, seen as "connection refused"), and one that is there at all accepts or refuses TCP.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum

from appliance.deadline import Clock, Deadline
from services.explanation import Explanation

KNOCK_SECONDS = 1.5
# SSH, and the ports that are passed on: where those lead nowhere, the first one still answers.
TCP_PORTS = (22, 80, 443)
UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH)


class Cause(StrEnum):
    """Why there is no handshake."""

    NAME = "name"  # the server's name leads nowhere
    OFFLINE = "offline"  # we have no way out
    CLOSED = "closed"  # the server is there, its WireGuard is not
    SILENT = "silent"  # the server is there; WireGuard's port says nothing
    NOWHERE = "nowhere"  # nothing answers at that address


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    cause: Cause
    evidence: tuple[str, ...]


EXPLANATIONS = {
    Cause.NAME: Explanation(
        sentence="The name of the rented server leads to no IPv4 address.",
        next_step="look for a typing error, or type the server's address itself",
    ),
    Cause.OFFLINE: Explanation(
        sentence="The Internet cannot be reached from here, so neither can the rented server.",
        next_step="look at the cable, the router and the line",
    ),
    Cause.CLOSED: Explanation(
        sentence="The rented server answers, but no WireGuard runs on it.",
        next_step="paste the script into a root shell of that server and read what it says last",
    ),
    Cause.SILENT: Explanation(
        sentence="The rented server is there, but its WireGuard does not answer.",
        next_step="paste the script there, the newest one; then look whether a firewall of the "
        "server's provider lets in UDP, as the script says at its end",
    ),
    Cause.NOWHERE: Explanation(
        sentence="Nothing answers at the address of the rented server.",
        next_step="compare the address with the one your provider shows, and look whether the "
        "server is switched on",
    ),
}


def diagnose(server: str, port: int, *, tcp_ports: Sequence[int] = TCP_PORTS) -> Diagnosis:
    """Takes a few seconds; nothing is changed anywhere."""
    try:
        found = socket.getaddrinfo(server, port, socket.AF_INET, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        return Diagnosis(cause=Cause.NAME, evidence=(f"{server}: {error}",))
    address = str(found[0][4][0])
    lines = [] if address == server else [f"{server} is at {address}"]
    refusal = knock_udp(address, port)
    if refusal in UNREACHABLE:
        return Diagnosis(cause=Cause.OFFLINE, evidence=(*lines, f"there is no way to {address}"))
    if refusal is not None:
        lines.append(f"{address} refuses UDP port {port}")
        return Diagnosis(cause=Cause.CLOSED, evidence=tuple(lines))
    lines.append(f"{address} says nothing on UDP port {port}, as WireGuard does to strangers")
    answered = knock_tcp(address, tcp_ports)
    if answered is None:
        lines.append(f"{address} answers on none of the TCP ports {_list(tcp_ports)}")
        return Diagnosis(cause=Cause.NOWHERE, evidence=tuple(lines))
    lines.append(f"{address} answers on TCP port {answered}")
    return Diagnosis(cause=Cause.SILENT, evidence=tuple(lines))


def knock_udp(address: str, port: int) -> int | None:
    """The error that came back; None for silence. One byte is no message of WireGuard's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as knocker:
        knocker.settimeout(KNOCK_SECONDS)
        try:
            knocker.connect((address, port))
            knocker.send(b"\0")
            knocker.recv(1)
        except TimeoutError:
            return None
        except OSError as error:
            return error.errno
    return None


def knock_tcp(address: str, ports: Sequence[int], *, clock: Clock = time) -> int | None:
    """The first port that accepts or refuses; None when all are silent."""
    deadline = Deadline(KNOCK_SECONDS, clock=clock)
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        callers: dict[int, socket.socket] = {}
        for port in ports:
            caller = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            caller.setblocking(False)
            caller.connect_ex((address, port))
            selector.register(caller, selectors.EVENT_WRITE, port)
            callers[port] = caller
        while callers and not deadline.expired:
            for key, _ in selector.select(deadline.remaining):
                caller = callers.pop(key.data)
                problem = caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if problem in (0, errno.ECONNREFUSED):
                    return int(key.data)
                selector.unregister(caller)
    return None


def _list(ports: Sequence[int]) -> str:
    return ", ".join(str(port) for port in ports)
