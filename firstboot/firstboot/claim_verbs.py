"""``hearthctl claim``: whoever is in by SSH with a key set at flashing needs no other proof."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable

from appliance.errors import StateError
from appliance.paths import Paths
from appliance.state import Phase, load_state
from firstboot.privilege import require_root


def add_verbs(add: Callable[..., argparse.ArgumentParser]) -> None:
    add("claim", _claim, "Show the claim code and where to type it; only until setup is over.")


def _claim(paths: Paths, options: argparse.Namespace) -> int:
    require_root()
    if load_state(paths.state).phase is Phase.READY:
        message = "This Hearth has been set up; there is no claim code any more."
        raise StateError(message, hint="sign in with the owner's password")
    try:
        code = (paths.runtime / "claim-code").read_text().strip()
    except FileNotFoundError as error:
        message = "The claim code has been used."
        hint = "type the same one again; a restart makes a new one"
        raise StateError(message, hint=hint) from error
    print(f"claim code: {code}")
    print(f"type it at: http://{socket.gethostname()}.local/claim")
    return 0
