"""The router's hairpin: what miniupnpd has mapped works from inside under its public address.

Runs in `router` as ``python3 -m world.internet.hairpin``. miniupnpd's own rules take only what
comes in from outside; this copies them for the home network whenever they change.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

# miniupnpd looks at the protocol byte of the IPv4 header itself (RFC 791 3.1), in bits.
PROTOCOL_OFFSET = 72
PROTOCOLS = {6: "tcp", 17: "udp"}
CHAIN = ["inet", "home", "prerouting_miniupnpd"]


def mappings() -> list[tuple[str, int, str, int]]:
    """Protocol, outside port, inside address and port of each mapping."""
    argv = ["nft", "-j", "list", "chain", *CHAIN]
    listed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    rules = [item["rule"]["expr"] for item in json.loads(listed)["nftables"] if "rule" in item]
    return [found for rule in rules if (found := read_rule(rule))]


def read_rule(expressions: list[dict[str, Any]]) -> tuple[str, int, str, int] | None:
    protocol, port, target = "", 0, None
    for expression in expressions:
        payload = expression.get("match", {}).get("left", {}).get("payload", {})
        right = expression.get("match", {}).get("right")
        if payload.get("field") == "dport":
            port = int(right)
        if payload.get("offset") == PROTOCOL_OFFSET:
            protocol = PROTOCOLS[int(right)]
        target = expression.get("dnat", target)
    return (protocol, port, target["addr"], int(target["port"])) if port and target else None


def copy() -> None:
    lines = ["flush chain inet home hairpin"]
    for protocol, outside, address, port in mappings():
        lines.append(
            "add rule inet home hairpin fib daddr type local ip daddr != 192.0.2.1 "
            f"{protocol} dport {outside} dnat ip to {address}:{port}"
        )
    subprocess.run(["nft", "-f", "-"], input="\n".join(lines), text=True, check=True)


def main() -> None:
    argv = ["nft", "monitor", "rules"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as monitor:
        assert monitor.stdout is not None
        copy()
        for line in monitor.stdout:
            if "miniupnpd" in line:
                copy()
    sys.exit("nft monitor ended")


if __name__ == "__main__":
    main()
