"""``hearthctl tunnel``: how it is, the rented server's half, and new keys for both."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

from appliance.errors import StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.secretfile import change_secrets
from appliance.settings import Secrets, Settings, Tunnel, load_secrets, load_settings
from appliance.state import Phase, load_state
from appliance.tables import to_table
from services.configuration import apply_configuration
from services.tunnel.keys import make_keys
from services.tunnel.layout import render_script
from services.tunnel.place import find_tunnel
from services.tunnel.status import TunnelStatus, is_tunnel_alive, load_status
from services.units import Units

NEVER = "never"


def show_tunnel(paths: Paths, *, as_json: bool) -> int:
    """Exit code 0 when the rented server has answered in the last three minutes."""
    tunnel = _tunnel(paths)
    now = time.monotonic()
    status = load_status(paths) or TunnelStatus(
        at=now, server=tunnel.server, problem="it was not started"
    )
    is_alive = status.is_alive(now)
    if as_json:
        age = status.age(now)
        table = {**to_table(status), "alive": is_alive, "age": None if age is None else round(age)}
        for clock in ("at", "shaken"):  # of a clock that only this machine knows
            table.pop(clock, None)
        sys.stdout.write(json.dumps(table, indent=1) + "\n")
    else:
        sys.stdout.write(describe(status, now))
    return 0 if is_alive else 1


def describe(status: TunnelStatus, now: float) -> str:
    age = status.age(now)
    lines = [
        f"server     {status.server} ({status.endpoint or 'address not known'})",
        f"handshake  {NEVER if age is None else f'{age:.0f} s ago'}",
        f"traffic    {status.received} bytes received, {status.sent} sent",
    ]
    trouble = None if status.is_alive(now) else status.trouble(now)
    if trouble is not None:
        lines.append(f"problem    {trouble.sentence}")
        lines += [f"  - {line}" for line in (status.diagnosis.evidence if status.diagnosis else ())]
        lines.append(f"  -> {trouble.next_step}")
    return "".join(f"{line}\n" for line in lines)


def print_script(paths: Paths) -> int:
    """The text to paste on the rented server. Raises StateError once its key is forgotten."""
    tunnel, secrets = _tunnel(paths), load_secrets(paths.secrets)
    if not secrets.tunnel_vps_key:
        message = "the key of the rented server was forgotten here once the tunnel worked"
        raise StateError(message, hint="hearthctl tunnel new-keys makes new ones, and a new script")
    sys.stdout.write(render_script(paths, tunnel, secrets))
    return 0


def change_keys(paths: Paths, units: Units) -> int:
    """New keys at once on our side: the tunnel is dead until the new script has run over there."""
    _tunnel(paths)
    change_secrets(paths, make_keys)
    apply_configuration(paths, units)
    logger.info("the tunnel works again as soon as this is pasted on the rented server")
    return print_script(paths)


def forget_foreign_key(paths: Paths, settings: Settings) -> bool:
    """Once setup is over and the tunnel works, the server's key is the server's alone."""
    secrets = load_secrets(paths.secrets)
    is_over = load_state(paths.state).phase is Phase.READY
    if not (secrets.tunnel_vps_key and find_tunnel(settings) and is_over):
        return False
    if not is_tunnel_alive(paths):
        return False

    def forget(known: Secrets) -> Secrets:
        is_same = known.tunnel_vps_key == secrets.tunnel_vps_key  # no new ones meanwhile
        return replace(known, tunnel_vps_key="") if is_same else known

    change_secrets(paths, forget)
    logger.info("the rented server's key is forgotten here")
    return True


def _tunnel(paths: Paths) -> Tunnel:
    tunnel = find_tunnel(load_settings(paths.settings))
    if tunnel is None:
        message = "the world does not come in through a tunnel"
        raise StateError(message, hint="hearthctl status tells how people get in")
    return tunnel
