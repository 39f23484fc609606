"""IPv6 has no port mapping, and a router may have no firewall for it: strangers are sorted here.

The pages of the appliance listen on 80 and 443 for the home network, and a pinhole keeps the port
number. What strangers send there is led to the public listeners where the way in is by IPv6 too.
Everything else of theirs is refused, SSH as well: over IPv4 a router lets in no more than these
ports, and over IPv6 it shall be no different.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from appliance.run import run
from services.portmap.mapper import PORTS

TABLE = "hearth_public"
# Never from the Internet: link-local and unique local addresses (RFC 4291, RFC 4193).
ALWAYS_HOME = ("fe80::/10", "fc00::/7")
# Linux: Documentation/networking, net/ipv6/route.c; /proc/net/ipv6_route.
GATEWAY, REJECT = 0x0002, 0x0200
FIELDS = 10
ROUTES = Path("/proc/net/ipv6_route")


def keep_redirect(*, wanted: bool, routes: Path = ROUTES) -> None:
    """Bring the rules in line with the networks that we are on, in one transaction of nft(8).

    ``wanted``: strangers get the public listeners. Raises CommandError; then no pinhole may be
    opened.
    """
    run(["nft", "-f", "-"], input=render_rules(read_networks(routes), is_served=wanted))


def read_networks(routes: Path = ROUTES) -> tuple[str, ...]:
    """The home networks as the kernel's table has them now."""
    return home_networks(routes.read_text() if routes.exists() else "")


def render_rules(networks: tuple[str, ...], *, is_served: bool) -> str:
    """A table of our own, replaced as a whole.

    Without ``is_served`` and with ALWAYS_HOME alone it is overlays/base/usr/share/hearth/
    strangers.nft, which stands from the start of the machine.
    """
    moved = [port for port in PORTS if port.external != port.internal]
    home = f"ip6 saddr {{ {', '.join(networks)} }}"
    # Declared before it is deleted: deleting what is not there would fail.
    lines = [f"table ip6 {TABLE} {{}}", f"delete table ip6 {TABLE}", f"table ip6 {TABLE} {{"]
    if is_served:
        pairs = ", ".join(f"{port.external} : {port.internal}" for port in moved)
        ports = ", ".join(str(port.external) for port in moved)
        lines += [
            "  chain lead {",
            "    type nat hook prerouting priority dstnat;",
            '    iifname "lo" return',
            f"    {home} return",
            f"    fib daddr type local tcp dport {{ {ports} }} "
            f"redirect to tcp dport map {{ {pairs} }}",
            "  }",
        ]
    lines += [
        "  chain refuse {",
        "    type filter hook input priority filter;",
        '    iifname "lo" accept',
        "    ct state established,related accept",
        f"    {home} accept",
        # Without it there is no IPv6 at all (RFC 4890 section 4.4).
        "    meta l4proto ipv6-icmp accept",
    ]
    if is_served:
        unmoved = ", ".join(str(port.external) for port in PORTS if port not in moved)
        lines += ["    ct status dnat accept", f"    tcp dport {{ {unmoved} }} accept"]
    # An answer, so that a neighbour whose network is not known yet goes on with IPv4 at once.
    lines += ["    meta l4proto tcp reject with tcp reset", "    drop", "  }", "}"]
    return "\n".join(lines) + "\n"


def home_networks(routes: str) -> tuple[str, ...]:
    """The networks that we reach without a router; ``routes`` is /proc/net/ipv6_route."""
    found = [ipaddress.IPv6Network(network) for network in ALWAYS_HOME]
    for line in routes.splitlines():
        fields = line.split()
        if len(fields) != FIELDS or fields[9] == "lo" or int(fields[8], 16) & (GATEWAY | REJECT):
            continue
        length = int(fields[1], 16)
        network = ipaddress.IPv6Network((bytes.fromhex(fields[0]), length))
        # A default route without a gateway (PPP) makes nobody a neighbour; multicast is none.
        if length and not network.is_multicast:
            found.append(network)
    return tuple(str(network) for network in ipaddress.collapse_addresses(found))
