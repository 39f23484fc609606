"""The addresses under which the world may reach us, as measured by the address job."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass

from appliance.errors import ConfigError
from appliance.paths import Paths
from appliance.tables import parse_table

# The address job's result (services.results); its key ``wan`` holds a WanAddresses.
RESULT = "address"
# RFC 6890, without the documentation ranges: no router has these outside, and the test world's do.
UNREACHABLE = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "224.0.0.0/3",
        "::/16", "64:ff9b::/96", "100::/64", "fc00::/7", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WanAddresses:
    """``ipv4`` is the router's outside; ``ipv6`` is our own global and stable one."""

    ipv4: str | None = None
    ipv6: str | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """IPv4 first."""
        return tuple(address for address in (self.ipv4, self.ipv6) if address)


def is_publishable(address: str) -> bool:
    """Whether this leads anywhere from outside: no private, shared or link-local address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(parsed in network for network in UNREACHABLE)


def load_wan(paths: Paths) -> WanAddresses:
    """What the address job found last and the world can reach; nothing where it has found none."""
    file = paths.results / f"{RESULT}.json"
    try:
        found = parse_table(WanAddresses, json.loads(file.read_text())["wan"], where=file.name)
    except (OSError, ValueError, LookupError, TypeError, ConfigError):
        return WanAddresses()  # not measured yet, or by another version
    ipv4, ipv6 = (one if one and is_publishable(one) else None for one in (found.ipv4, found.ipv6))
    return WanAddresses(ipv4=ipv4, ipv6=ipv6)
