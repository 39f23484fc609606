"""Whether the world can reach us: a verdict from what was measured, with its evidence. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from services.echo import Echo, agreed
from services.portmap.causes import EXPLANATIONS, Cause
from services.wan import WanAddresses

SHARED = ipaddress.ip_network(
    "100.64.0.0/10"
)  # RFC 6598: between a carrier's NAT and its customers
DS_LITE = ipaddress.ip_network("192.0.0.0/29")  # RFC 6333, 7335: IPv4 carried over IPv6
# RFC 1918, and what no router's outside can be. Not Python's is_private: that counts the
# documentation ranges (RFC 5737), which no line has, but every test of this.
PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
)
UNUSABLE = tuple(ipaddress.ip_network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"))


class Reachability(StrEnum):
    OPEN = "open"
    DOUBLE_NAT = "double-nat"
    CGNAT = "cgnat"
    NO_IGD = "no-igd"
    IPV6_ONLY = "ipv6-only"
    OFFLINE = "offline"


class Kind(StrEnum):
    """What an IPv4 address says about the line it is on."""

    PUBLIC = "public"
    PRIVATE = "private"
    SHARED = "shared"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """``router_wan`` as the router itself says; ``refusal`` why it opens no ports."""

    lan: str = ""
    gateway: str = ""
    protocol: str = ""
    router_wan: str = ""
    refusal: Cause | None = None
    is_mapped: bool = False
    echoes: tuple[Echo, ...] = ()
    ipv6: str = ""
    echoes6: tuple[Echo, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``evidence`` is what was measured, a line each."""

    verdict: Reachability
    sentence: str
    next_step: str
    evidence: tuple[str, ...]


SENTENCES = {
    Reachability.OPEN: (
        "Your router has a public address and opens ports: the world can reach this device.",
        "nothing; the ports are opened and kept open by themselves",
    ),
    Reachability.DOUBLE_NAT: (
        "There is a second router between yours and the Internet, so ports that yours opens lead "
        "nowhere.",
        "put the outer box into bridge mode, or forward its ports 80, 443 and 8448 to the same "
        "ports of your router",
    ),
    Reachability.CGNAT: (
        "Your provider shares one public IPv4 address among many customers (CGNAT): nobody can "
        "connect to you by IPv4.",
        "ask the provider for a public IPv4 address (often free or a few coins), or go on with a "
        "WireGuard tunnel to a rented server",
    ),
    Reachability.NO_IGD: (
        "The Internet works, but the router does not open ports by itself.",
        EXPLANATIONS[Cause.SILENT].next_step,
    ),
    Reachability.IPV6_ONLY: (
        "This line reaches the world by IPv6 only: people on IPv4-only networks cannot reach you.",
        "go on with IPv6 alone, or with a WireGuard tunnel to a rented server for everybody",
    ),
    Reachability.OFFLINE: (
        "The Internet cannot be reached from here.",
        "look at the cable, the router and the line; Hearth works in the home network meanwhile",
    ),
}
OTHER_WAY = "this line has IPv6: people who have it too can reach you when the router lets it in"


def kind_of(text: str) -> Kind:
    if not text:
        return Kind.NONE
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return Kind.NONE
    if any(address in network for network in UNUSABLE):
        return Kind.NONE
    if address in SHARED or address in DS_LITE:
        return Kind.SHARED
    return Kind.PRIVATE if any(address in network for network in PRIVATE) else Kind.PUBLIC


def classify(facts: Facts) -> Finding:
    """The verdict; what decided is in the evidence."""
    verdict = _verdict(facts)
    sentence, next_step = SENTENCES[verdict]
    if verdict is Reachability.NO_IGD and facts.refusal is not None:
        explanation = EXPLANATIONS[facts.refusal]
        sentence, next_step = explanation.sentence, explanation.next_step
    if facts.ipv6 and verdict in (Reachability.CGNAT, Reachability.DOUBLE_NAT, Reachability.NO_IGD):
        next_step = f"{next_step}; {OTHER_WAY}"
    return Finding(
        verdict=verdict,
        sentence=sentence,
        next_step=next_step,
        evidence=tuple(_evidence(facts)),
    )


def _verdict(facts: Facts) -> Reachability:
    seen = {echo.address for echo in facts.echoes if echo.address}
    if not facts.gateway or not seen:
        has_ipv6 = facts.ipv6 and any(echo.address for echo in facts.echoes6)
        return Reachability.IPV6_ONLY if has_ipv6 else Reachability.OFFLINE
    if not facts.protocol:
        return Reachability.NO_IGD
    outside = kind_of(facts.router_wan)
    if outside is Kind.SHARED:
        return Reachability.CGNAT
    # A router that is online and names no outside address has none to be proud of: miniupnpd
    # hides private ones. Where it has opened the ports all the same, that is taken for a yes.
    if outside is Kind.PRIVATE or (outside is Kind.NONE and not facts.is_mapped):
        return Reachability.DOUBLE_NAT
    # Several addresses are a carrier's pool, a VPN or a second line: none is surely ours.
    if len(seen) > 1 or (outside is Kind.PUBLIC and seen != {facts.router_wan}):
        return Reachability.CGNAT
    return Reachability.NO_IGD if facts.refusal is not None else Reachability.OPEN


def find_wan(facts: Facts, verdict: Reachability) -> WanAddresses:
    """What DNS may lead to; under CGNAT an IPv4 address would lead to somebody else."""
    seen = agreed(facts.echoes)
    if verdict is Reachability.OPEN:
        # The second service may be down for a day: the router itself is the other witness.
        seen = seen or facts.router_wan
    ipv4 = None if verdict is Reachability.CGNAT else seen
    return WanAddresses(ipv4=ipv4 or None, ipv6=facts.ipv6 or None)


def _evidence(facts: Facts) -> list[str]:
    lines = [
        f"this device is {facts.lan or 'without an IPv4 address'}, "
        f"the router {facts.gateway or 'is not there'}",
        _router_line(facts),
        *(_echo_line(echo) for echo in facts.echoes),
    ]
    if facts.ipv6:
        lines.append(f"this device has the public IPv6 address {facts.ipv6}")
        lines += [_echo_line(echo) for echo in facts.echoes6]
    else:
        lines.append("there is no public IPv6 address")
    return lines


def _router_line(facts: Facts) -> str:
    if not facts.protocol:
        return "the router answers neither PCP, NAT-PMP nor UPnP"
    names = {
        Kind.PUBLIC: f"{facts.router_wan}, a public address",
        Kind.PRIVATE: f"{facts.router_wan}, a private address (RFC 1918)",
        Kind.SHARED: f"{facts.router_wan}, an address of a carrier's NAT (RFC 6598, 6333)",
        Kind.NONE: "nothing",
    }
    refusal = f"; it opens no ports: {facts.refusal.value}" if facts.refusal else ""
    told = names[kind_of(facts.router_wan)]
    return f"the router answers {facts.protocol} and says that its outside is {told}{refusal}"


def _echo_line(echo: Echo) -> str:
    host = echo.service.partition("//")[2].rstrip("/")
    return f"{host} sees us as {echo.address}" if echo.address else f"{host}: {echo.error}"
