"""What kind of home router, and what kind of line, a world has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Igd(StrEnum):
    """UPnP Internet Gateway Device, as the router announces itself."""

    OFF = "off"
    V1 = "v1"
    V2 = "v2"


class Udp(StrEnum):
    """What answers on UDP port 5351 of the router (RFC 6886, RFC 6887)."""

    OFF = "off"
    NATPMP = "natpmp"
    PCP = "pcp"
    BOTH = "both"


class Line(StrEnum):
    """What is between the router and the Internet."""

    PUBLIC = "public"  # the router has the public address
    DOUBLE_NAT = "double-nat"  # another router of the owner's, which forwards nothing
    CGNAT = "cgnat"  # the carrier's NAT, 100.64/10 (RFC 6598)


class Ipv6(StrEnum):
    OFF = "off"
    FIREWALL = "firewall"  # a global prefix; what comes in needs a pinhole
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class RouterOptions:
    """The default is the router that makes no trouble.

    - ``permanent_only``: refuses a lease time with error 725 (IGD only)
    - ``taken_ports``: TCP ports that another host in the home has mapped before us: error 718
    - ``own_ports``: TCP ports on which the router itself answers on its outside
    - ``lowest_port``: ports below it are refused
    - ``hairpin``: the public address works from inside, too
    - ``rewrites_source``: what comes in seems to come from the router
    - ``lies``: says that a port is mapped, and lets nothing in
    - ``quiet``: announces neither its start nor a new address
    - ``filters_private``: hides names that lead to addresses at home ("DNS rebinding protection")
    """

    igd: Igd = Igd.V2
    udp: Udp = Udp.BOTH
    line: Line = Line.PUBLIC
    ipv6: Ipv6 = Ipv6.OFF
    permanent_only: bool = False
    taken_ports: tuple[int, ...] = ()
    own_ports: tuple[int, ...] = ()
    lowest_port: int = 0
    hairpin: bool = True
    rewrites_source: bool = False
    lies: bool = False
    quiet: bool = False
    filters_private: bool = False


VARIANTS: dict[str, RouterOptions] = {
    "plain": RouterOptions(),
    "igd1": RouterOptions(igd=Igd.V1, udp=Udp.OFF),
    "upnp-off": RouterOptions(igd=Igd.OFF, udp=Udp.OFF),
    "permanent-only": RouterOptions(igd=Igd.V1, udp=Udp.OFF, permanent_only=True),
    "port-taken": RouterOptions(taken_ports=(443,)),
    "router-has-80": RouterOptions(own_ports=(80,)),
    "no-low-ports": RouterOptions(lowest_port=1024),
    "natpmp-only": RouterOptions(igd=Igd.OFF, udp=Udp.NATPMP),
    "pcp-only": RouterOptions(igd=Igd.OFF, udp=Udp.PCP),
    "double-nat": RouterOptions(line=Line.DOUBLE_NAT),
    "cgnat": RouterOptions(line=Line.CGNAT),
    "ipv6-firewall": RouterOptions(ipv6=Ipv6.FIREWALL),
    "no-hairpin": RouterOptions(hairpin=False),
    "rewrites-source": RouterOptions(rewrites_source=True),
    "lying": RouterOptions(lies=True),
    "igd1-quiet": RouterOptions(igd=Igd.V1, udp=Udp.OFF, quiet=True),
    "natpmp-quiet": RouterOptions(igd=Igd.OFF, udp=Udp.NATPMP, quiet=True),
    "pcp-quiet": RouterOptions(igd=Igd.OFF, udp=Udp.PCP, quiet=True),
    "filters-private": RouterOptions(filters_private=True),
}
