"""/etc/resolv.conf from what the router told systemd-networkd; there is no resolved here.

networkd keeps the name servers of all links in /run/systemd/netif/state, the file that
systemd-resolved and libsystemd's sd-network read as well.
"""

from __future__ import annotations

from pathlib import Path

from appliance.atomic import write_atomic
from appliance.paths import Paths

MAX_SERVERS = 3  # resolv.conf(5): MAXNS


def network_state(paths: Paths) -> Path:
    return paths.root / "run" / "systemd" / "netif" / "state"


def update_resolver(paths: Paths) -> bool:
    """Write /run/hearth/resolv.conf if it would differ; whether it did."""
    try:
        state = network_state(paths).read_text()
    except OSError:
        state = ""
    text = render_resolver(state)
    target = paths.runtime / "resolv.conf"
    if target.exists() and target.read_text() == text:
        return False
    write_atomic(target, text)
    return True


def render_resolver(state: str) -> str:
    values = dict(line.split("=", 1) for line in state.splitlines() if "=" in line)
    # A server name that follows a # is for DNS over TLS (systemd.network(5), DNS=).
    servers = [item.partition("#")[0] for item in values.get("DNS", "").split()]
    lines = [f"nameserver {server}" for server in servers[:MAX_SERVERS]]
    domains = values.get("DOMAINS", "")
    if domains:
        lines.append(f"search {domains}")
    return "".join(f"{line}\n" for line in ["# from systemd-networkd, by the agent", *lines])
