"""IPv6 has no port mapping: what strangers send to our 80 and 443 is led to the public listeners.

The pages of the appliance listen on these ports for the home network. A pinhole in the router's
firewall keeps the port number, so that the difference has to be made here: by where it comes from.
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


def keep_redirect(*, wanted: bool, routes: Path = Path("/proc/net/ipv6_route")) -> None:
    """Bring the rules in line with the networks that we are on, in one transaction of nft(8).

    Raises CommandError; then no pinhole may be opened.
    """
    text = routes.read_text() if wanted and routes.exists() else ""
    run(["nft", "-f", "-"], input=render_rules(home_networks(text) if wanted else None))


def render_rules(networks: tuple[str, ...] | None) -> str:
    """A table of our own, replaced as a whole; with None only taken away."""
    # Declared before it is deleted: deleting what is not there would fail.
    lines = [f"table ip6 {TABLE} {{}}", f"delete table ip6 {TABLE}"]
    if networks is None:
        return "\n".join(lines) + "\n"
    pairs = ", ".join(
        f"{port.external} : {port.internal}" for port in PORTS if port.external != port.internal
    )
    ports = ", ".join(str(port.external) for port in PORTS if port.external != port.internal)
    lines += [
        f"table ip6 {TABLE} {{",
        "  chain strangers {",
        "    type nat hook prerouting priority dstnat;",
        '    iifname "lo" return',
        f"    ip6 saddr {{ {', '.join(networks)} }} return",
        f"    fib daddr type local tcp dport {{ {ports} }} redirect to tcp dport map {{ {pairs} }}",
        "  }",
        "}",
    ]
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
