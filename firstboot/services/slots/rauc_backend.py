"""RAUC's custom bootloader back end (RAUC manual, "Custom bootloader backend interface").

RAUC starts it as a program: what it answers goes to standard output, and an exit code other than 0
means that it did not happen.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.errors import StateError, UsageError
from appliance.paths import Paths
from services.slots import engine

ARGUMENTS = {"get-primary": 0, "set-primary": 1, "get-state": 1, "set-state": 2, "get-current": 0}


def answer(paths: Paths, verb: str, arguments: Sequence[str]) -> str:
    """What to print: a boot name, "good" or "bad", or nothing. Raises HearthError."""
    if len(arguments) != ARGUMENTS.get(verb, -1):
        raise UsageError(f"not a call of RAUC's: {verb} {' '.join(arguments)}".rstrip())
    match verb:
        case "get-primary":
            return engine.status(paths).primary
        case "get-current":
            return engine.booted_slot(paths)
        case "get-state":
            left = engine.status(paths).left
            return "good" if left[engine.check_name(arguments[0])] > 0 else "bad"
        case "set-primary":
            _set_primary(paths, *arguments)
        case "set-state":
            _set_state(paths, *arguments)
        case _:
            pass
    return ""


def _set_primary(paths: Paths, slot: str) -> None:
    """The booted slot, when it has proved itself, ends the other one's trial (mark-active)."""
    found = engine.status(paths)
    if engine.check_name(slot) == found.booted and found.committed:
        engine.commit(paths)
    else:
        engine.try_next(paths, slot)


def _set_state(paths: Paths, slot: str, state: str) -> None:
    """RAUC marks the other slot bad before it writes there, so that half a slot never starts."""
    if state == "bad":
        engine.mark_bad(paths, slot)
        return
    if state != "good":
        raise UsageError(f"a slot is good or bad, not {state!r}")
    found = engine.status(paths)
    if engine.check_name(slot) != found.booted or not found.committed:
        message = f"slot {slot} has not proved itself: only the verdict on its health commits it"
        raise StateError(message, hint="see: hearthctl update status")
    engine.mark_good(paths)
