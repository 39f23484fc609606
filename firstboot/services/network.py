"""The appliance's own addresses on the home network, and news when they change."""

from __future__ import annotations

import ipaddress
import socket

import netifaces

from services.tunnel.place import INTERFACE as TUNNEL

# rtnetlink(7) multicast groups, linux/rtnetlink.h
RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR = 0x10
RTMGRP_IPV6_IFADDR = 0x100

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def local_addresses() -> tuple[str, ...]:
    """Addresses under which others can reach us: IPv4 first, then IPv6 that has no zone.

    RFC 3927 addresses (169.254/16) come last: they work between two machines without a router.
    Our end of a tunnel is none of them: nobody at home reaches it, and it sorts before 192.168.
    """
    found: set[Address] = set()
    for interface in netifaces.interfaces():
        if interface == TUNNEL:
            continue
        families = netifaces.ifaddresses(interface)
        for family in (netifaces.AF_INET, netifaces.AF_INET6):
            for entry in families.get(family, ()):
                found.update(_usable(entry.get("addr", "")))
    return tuple(str(address) for address in sorted(found, key=_order))


def _usable(text: str) -> tuple[Address, ...]:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ()
    # An IPv6 link-local address needs a zone, which no browser accepts (RFC 6874).
    if address.is_loopback or (address.version == 6 and address.is_link_local):  # noqa: PLR2004
        return ()
    return (address,)


def _order(address: Address) -> tuple[bool, int, int]:
    return (address.is_link_local, address.version, int(address))


def open_netlink() -> socket.socket:
    """A socket that becomes readable when a link or an address changes (rtnetlink(7))."""
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    news.setblocking(False)
    news.bind((0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR))
    return news
