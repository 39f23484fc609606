"""The verbs about the way in through a rented server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from appliance.paths import Paths
from firstboot.privilege import require_root


def add_verbs(add: Callable[..., argparse.ArgumentParser]) -> None:
    """``add`` is the command line's: name, function and, for people's verbs, a sentence."""
    tunnel = add("tunnel", _tunnel, "Look after the way in through a rented server.")
    tunnel.add_argument(
        "act",
        choices=["status", "script", "new-keys"],
        help="status: exit code 1 if it does not answer; script: its half, to be pasted there; "
        "new-keys: for both halves, when the server is a new one or somebody has seen the script",
    )
    tunnel.add_argument("--json", action="store_true", help="print JSON")
    add("tunnel-keep", _keep)
    add("tunnel-check", _check)
    add("tunnel-script", _draft_script)


def _tunnel(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.tunnel_verbs import change_keys, print_script, show_tunnel
    from services.units import SystemdUnits

    require_root()
    match options.act:
        case "status":
            return show_tunnel(paths, as_json=options.json)
        case "script":
            return print_script(paths)
        case _:
            return change_keys(paths, SystemdUnits())


def _keep(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.tunnel import keep_tunnel

    return keep_tunnel(paths)


def _check(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.tunnel_check import check_tunnel

    check_tunnel(paths)
    return 0


def _draft_script(paths: Paths, _options: argparse.Namespace) -> int:
    """In base64, for the agent: the text itself is the owner's to see, not the log's."""
    import base64

    from firstboot.tunnel_check import draft_script

    sys.stdout.write(base64.b64encode(draft_script(paths).encode()).decode() + "\n")
    return 0
