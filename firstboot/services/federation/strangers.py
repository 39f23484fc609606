"""Whom we connect to because strangers say so: never a machine of our own home.

Private addresses are nobody's (services.wan). But over IPv6 each machine at home has an address
that the world knows, and the router's outside answers from inside too, often with its own pages: a
server may name them in its DNS, its SRV records or its well-known as it likes.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from appliance.paths import Paths
from services.redirect import ROUTES, read_networks
from services.wan import is_publishable, load_wan

ROUTES4 = Path("/proc/net/route")
# Linux: Documentation/networking, net/ipv4/fib_trie.c; /proc/net/route.
GATEWAY = 0x0002
FIELDS = 8


def strangers_only(
    paths: Paths, *, routes: Path = ROUTES, routes4: Path = ROUTES4
) -> Callable[[str], bool]:
    """services.federation.fetch.Web.may_dial, for the networks and addresses that we have now."""
    text = routes4.read_text() if routes4.exists() else ""
    home = [*map(ipaddress.ip_network, (*read_networks(routes), *home_networks4(text)))]
    ours = {ipaddress.ip_address(address) for address in load_wan(paths).known}

    def may_dial(address: str) -> bool:
        if not is_publishable(address):
            return False
        parsed = ipaddress.ip_address(address)
        return parsed not in ours and not any(parsed in network for network in home)

    return may_dial


def home_networks4(routes: str) -> tuple[str, ...]:
    """The networks that we reach without a router; ``routes`` is /proc/net/route."""
    found = []
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) < FIELDS or int(fields[3], 16) & GATEWAY:
            continue
        # Numbers as they lie in memory, in the network's order.
        network, mask = (
            socket.inet_ntoa(int(fields[at], 16).to_bytes(4, sys.byteorder)) for at in (1, 7)
        )
        if mask != "0.0.0.0":  # a default route without a gateway (PPP) makes nobody a neighbour
            found.append(f"{network}/{mask}")
    return tuple(found)
