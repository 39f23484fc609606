"""What both halves of the tunnel agree on, and the files of ours.

The packets are small enough for IPv6 and a customer's PPPoE around DS-Lite around WireGuard; TCP
takes its segment size from that on our end and tells it to the other, so that nobody has to clamp.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.paths import Paths
from appliance.settings import Secrets, Settings, Tunnel
from services.checkers import run_checker
from services.portmap.mapper import PORTS
from services.render import Action, Template, render_templates
from services.tunnel.keys import has_keys, public_key
from services.tunnel.place import CONFIG, GUARD, INTERFACE, OURS, THEIRS, UNIT, find_tunnel

MTU = 1360
# Ours among the routing tables and rules (ip-rule(8)): any number that nobody else takes.
TABLE = PRIORITY = 21377
# Often enough for the shortest memory of a NAT; wg(8) recommends it.
KEEPALIVE_SECONDS = 25
TEMPLATES = tuple(
    Template(source=f"{name}.j2", target=name, group="root", unit=UNIT, action=Action.RESTART)
    for name in (CONFIG, GUARD)
)
SCRIPT = Template(
    source="wireguard/vps.sh.j2", target="vps.sh", group="root", unit=UNIT, action=Action.RESTART
)


def templates_for(settings: Settings | None, secrets: Secrets) -> tuple[Template, ...]:
    return TEMPLATES if find_tunnel(settings) and has_keys(secrets) else ()


def values_of(tunnel: Tunnel, secrets: Secrets) -> Mapping[str, Any]:
    """What the templates need to know."""
    return {
        "tunnel": tunnel,
        "secrets": secrets,
        "ours": OURS,
        "theirs": THEIRS,
        "interface": INTERFACE,
        "mtu": MTU,
        "table": TABLE,
        "priority": PRIORITY,
        "keepalive": KEEPALIVE_SECONDS,
        "forwards": PORTS,
    }


def render_script(paths: Paths, tunnel: Tunnel, secrets: Secrets) -> str:
    """The text for the rented server; it holds that server's private key."""
    values = {
        **values_of(tunnel, secrets),
        "our_public": public_key(secrets.tunnel_key),
        "outside": " ".join(str(port.external) for port in PORTS),
    }
    return render_templates(paths, (SCRIPT,), values)[0].text


def check(config: Path) -> None:
    """Both programs' own opinion of the rendered files under ``config``. Raises CheckerError."""
    run_checker("WireGuard", ["wg-quick", "strip", config / CONFIG])
    run_checker("nftables", ["nft", "--check", "--file", config / GUARD])
