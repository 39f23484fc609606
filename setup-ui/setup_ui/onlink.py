"""Who may use the wizard: browsers on a network that this appliance is itself on."""

from __future__ import annotations

import ipaddress
import time

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FRESH_SECONDS = 5.0  # an address that DHCP has just given us counts after this long


def parse_address(text: str) -> Address | None:
    """An address as nginx writes it; without a scope, and IPv4 out of its IPv6 form."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def is_on_link(text: str, networks: tuple[Network, ...]) -> bool:
    address = parse_address(text)
    if address is None:
        return False
    return address.is_loopback or any(
        address.version == network.version and address in network for network in networks
    )


def load_networks() -> tuple[Network, ...]:
    """The networks of all our interfaces right now."""
    import netifaces  # a C extension that only the first request needs

    found: list[Network] = []
    for interface in netifaces.interfaces():
        for family in (netifaces.AF_INET, netifaces.AF_INET6):
            for entry in netifaces.ifaddresses(interface).get(family, []):
                network = parse_network(entry.get("addr", ""), entry.get("netmask", ""))
                if network is not None:
                    found.append(network)
    return tuple(found)


def parse_network(address: str, netmask: str) -> Network | None:
    """netifaces writes IPv4 masks as ``255.255.255.0``, IPv6 ones as ``ffff:ffff::/64``."""
    mask = netmask.partition("/")[2] or netmask
    if ":" in mask:  # older kernels' netifaces: a mask without the length
        mask = str(int(ipaddress.IPv6Address(mask)).bit_count())
    try:
        return ipaddress.ip_network(f"{address.partition('%')[0]}/{mask}", strict=False)
    except ValueError:
        return None


class NetworkCache:
    """Interface addresses change rarely and are asked for at every request."""

    def __init__(self) -> None:
        self._networks: tuple[Network, ...] = ()
        self._until = 0.0

    def get(self) -> tuple[Network, ...]:
        if time.monotonic() >= self._until:
            self._networks = load_networks()
            self._until = time.monotonic() + FRESH_SECONDS
        return self._networks
