"""Which Host header the wizard answers to; any other name is a DNS-rebinding attempt."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path

from appliance.paths import Paths

PRODUCT = "hearth"
HOST = re.compile(r"(?:\[(?P<number>[0-9a-f:.]+)\]|(?P<name>[a-z0-9.-]+))(?::[0-9]+)?")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def host_name(header: str) -> str:
    """The name or address of a Host header, lower case, without port, brackets and root dot.

    Empty, and so nobody's, for anything that is not of that form (RFC 9112 section 3.2).
    """
    found = HOST.fullmatch(header.strip().lower())
    return (found["number"] or found["name"].removesuffix(".")) if found else ""


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_host_ours(host: str, *, names: Iterable[str], own: str, domains: Iterable[str]) -> bool:
    """Whether ``host`` can only mean this appliance.

    ``names`` are our mDNS names, ``own`` is the system's host name, ``domains`` those that the
    network gave us by DHCP: a router answers for ``hearth.<domain>``, an attacker's DNS does not.
    """
    if host == "localhost" or is_address(host):
        return True
    labels = {own, PRODUCT, *(name.partition(".")[0] for name in names)} - {""}
    if host in {f"{label}.local" for label in labels} | labels | {name.lower() for name in names}:
        return True
    first, dot, rest = host.partition(".")
    return bool(dot) and first in labels and rest in set(domains)


def find_domains(paths: Paths) -> frozenset[str]:
    """The domains DHCP gave us: resolv.conf(5) ``search``, and networkd's leases (DOMAINNAME)."""
    found: set[str] = set()
    for line in _lines(paths.root / "etc" / "resolv.conf"):
        word, *values = line.split() or [""]
        if word in ("search", "domain"):
            found.update(values)
    netif = paths.root / "run" / "systemd" / "netif"
    leases = sorted((netif / "leases").glob("*")) if (netif / "leases").is_dir() else []
    for line in [line for file in [*leases, netif / "state"] for line in _lines(file)]:
        key, mark, value = line.partition("=")
        if mark and key in ("DOMAINNAME", "DOMAIN_SEARCH_LIST", "DOMAINS"):
            found.update(value.split())
    return frozenset(name.lower().strip(".") for name in found if _is_domain(name))


def _is_domain(name: str) -> bool:
    return all(LABEL.fullmatch(label) for label in name.lower().strip(".").split("."))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
