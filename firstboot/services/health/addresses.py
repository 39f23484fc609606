"""Whether the home network has given us an address."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from services.health.result import CheckResult, Examination, failed, passed, warned
from services.network import local_addresses


@dataclass(frozen=True)
class AddressCheck:
    name: str = "addresses"
    title: str = "Network addresses"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        addresses = local_addresses()
        hint = "is the cable plugged in at both ends, and does the router give addresses (DHCP)?"
        if not addresses:
            return failed("no address on any network", hint)
        evidence = ", ".join(addresses)
        if all(ipaddress.ip_address(text).is_link_local for text in addresses):
            return warned(f"only self-assigned addresses: {evidence}", hint)
        return passed(evidence)
