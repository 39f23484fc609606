"""Where we are on the home network: the router, our address towards it, our IPv6 address."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netifaces

# Documentation/networking and include/uapi/linux/if_addr.h; /proc shows the low eight bits.
TEMPORARY, DAD_FAILED, DEPRECATED, TENTATIVE = 0x01, 0x08, 0x20, 0x40
USELESS = TEMPORARY | DAD_FAILED | DEPRECATED | TENTATIVE
UNIQUE_LOCAL = ipaddress.ip_network("fc00::/7")  # RFC 4193: like 192.168 in IPv4
FIELDS = 6


@dataclass(frozen=True, kw_only=True)
class Place:
    """``gateway6`` is link-local with its zone, as a router's address is."""

    gateway: str = ""
    lan: str = ""
    interface: str = ""
    gateway6: str = ""
    ipv6: str = ""


def find_place(inet6: Path = Path("/proc/net/if_inet6")) -> Place:
    """As the kernel's tables say now; fields are empty where there is nothing."""
    defaults: Any = netifaces.gateways()["default"]  # a dict by family; its stubs know less
    gateway, interface = _default(defaults.get(netifaces.AF_INET))
    gateway6, interface6 = _default(defaults.get(netifaces.AF_INET6))
    try:
        table = inet6.read_text()
    except OSError:
        table = ""  # a kernel without IPv6
    return Place(
        gateway=gateway,
        lan=_source_towards(gateway) if gateway else "",
        interface=interface or interface6,
        gateway6=f"{gateway6}%{interface6}" if gateway6.startswith("fe80:") else gateway6,
        ipv6=stable_ipv6(table, interface6) if interface6 else "",
    )


def stable_ipv6(table: str, interface: str) -> str:
    """The global address of ``interface`` that stays: not temporary (RFC 8981), not deprecated.

    ``table`` is /proc/net/if_inet6: address, index, prefix length, scope, flags, name. Scope 00
    is global. An address in a /128 comes from DHCPv6, others from the prefix that the router
    announces; the latter carry our own interface identifier and so come first.
    """
    found: list[tuple[bool, str]] = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) != FIELDS or fields[5] != interface or fields[3] != "00":
            continue
        address = ipaddress.IPv6Address(bytes.fromhex(fields[0]))
        if int(fields[4], 16) & USELESS or address in UNIQUE_LOCAL:
            continue
        found.append((int(fields[2], 16) == address.max_prefixlen, str(address)))
    return min(found)[1] if found else ""


def _default(entry: tuple[str, ...] | None) -> tuple[str, str]:
    return (entry[0], entry[1]) if entry else ("", "")


def _source_towards(gateway: str) -> str:
    """The address that the kernel would use; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((gateway, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
