"""What is done when the provisioning process has ended: a death without a word is put on record.

Killed for the memory it took, or by a fault in a library, it cannot write that itself; and the
page would say "running" until somebody pulls the plug. hearth-provision.service calls this by
ExecStopPost, with the variables that systemd.exec(5) describes (SERVICE_RESULT, EXIT_STATUS).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from appliance.log import logger
from appliance.paths import Paths
from appliance.state import Phase, State, StepState, load_state, save_state
from firstboot.provision import READER
from services.owners import find_owner

UNFINISHED = (StepState.RUNNING, StepState.PENDING)
HINT = "press the button to go on; if it stays, look at: journalctl -u hearth-provision"


def record_death(paths: Paths, result: Mapping[str, str], *, is_stopping: bool, now: float) -> bool:
    """Make a run that nobody works on any more FAILED; whether there was one.

    ``is_stopping``: the machine is going down, and the next start goes on by itself.
    """
    state = load_state(paths.state)
    if state.phase is not Phase.APPLYING or is_stopping or _is_tried_again(state, result):
        return False
    message = _say(result)
    logger.warning("%s", message)
    dead = next((status.name for status in state.steps if status.state in UNFINISHED), None)
    steps = tuple(
        replace(status, state=StepState.FAILED, ended=now, detail="", error=message, hint=HINT)
        if status.name == dead
        else status
        for status in state.steps
    )
    owner = find_owner(paths, "root", READER)
    save_state(replace(state, phase=Phase.FAILED, steps=steps), paths.state, owner=owner)
    return True


def _is_tried_again(state: State, result: Mapping[str, str]) -> bool:
    """The owner was quick: the run did record its failure, and the next one waits for our end.

    A run that has begun holds no failed step any more.
    """
    has_failed = any(status.state is StepState.FAILED for status in state.steps)
    return has_failed and result.get("SERVICE_RESULT") == "exit-code"


def _say(result: Mapping[str, str]) -> str:
    kind, status = result.get("SERVICE_RESULT", ""), result.get("EXIT_STATUS", "")
    if kind == "oom-kill":
        return "The setup program was ended because memory ran out."
    how = f" ({kind}, {status})" if kind and status else ""
    return f"The setup program ended before its work was done{how}."
