"""What became of the last update: looked at early in every start that finds a trial on record.

The old slot runs again: the new version was rolled back, and why is written down; or it never was
started, because the power went between two writes, and still waits. The new one runs and is
committed: the record of that, which a power cut had prevented, is made good.

Each step may be cut: the record first, then the state, then the slots, and all of it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from appliance.log import logger
from appliance.paths import Paths
from appliance.update import Outcome, Result, Stage, UpdateState
from services import slots
from services.failures import (
    Failure,
    drop_trial_log,
    load_failures,
    save_failure,
    take_trial_log,
)
from services.health.stages import Stage as Reached
from services.health.stages import Start, load_marks, tell_starts, trial_starts
from services.health.trial import is_outside
from services.slots import SlotStatus
from services.snapshots.ageing import note_commit
from services.update import kept
from services.update.state import (
    add_outcome,
    find_started,
    last_committed,
    load_history,
    load_update,
    save_update,
)

REASONS = {
    None: "its kernel did not get as far as the start-up program",
    Reached.INITRAMFS: "it stopped in the start-up program, before systemd",
    Reached.SYSTEMD: "systemd started, but it hung or lost power before a verdict was passed",
    Reached.VERDICT: "it was found not to be well, but the reason could not be written down",
}


class Settlement(Enum):
    NOTHING = "nothing"
    INSTALLED = "installed"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"


def plan(state: UpdateState, slot: SlotStatus) -> Settlement:
    """What the slots say became of the trial in ``state``. What runs is what was booted."""
    if state.stage is not Stage.TRIAL:
        return Settlement.NOTHING
    if slot.booted == state.slot:
        return Settlement.COMMITTED if slot.committed else Settlement.NOTHING
    if slot.trial != state.slot:
        return Settlement.INSTALLED
    # With attempts left its first start is still to come.
    return Settlement.NOTHING if slot.left.get(slot.trial, 0) else Settlement.ROLLED_BACK


def settle(
    paths: Paths, *, reboot: Callable[[], None], now: Callable[[], float] = time.time
) -> Settlement:
    """Raises ImageError or StateError where the slots cannot be read."""
    state = load_update(paths)
    if _recall(paths, state):
        logger.warning("another slot had proved itself: restarting into it")
        reboot()
        return Settlement.NOTHING
    found = plan(state, slots.status(paths))
    match found:
        case Settlement.ROLLED_BACK:
            _roll_back(paths, state, now())
        case Settlement.COMMITTED:
            finish_commit(paths, state, now())
        case Settlement.INSTALLED:
            logger.warning("version %s is installed, but was never started", state.version)
            save_update(paths, replace(state, stage=Stage.INSTALLED))
            kept.drop(paths)
        case Settlement.NOTHING:
            pass
    return found


def end_stale_trial(paths: Paths) -> bool:
    """Take a trial from the slots of which the record knows nothing (any more); whether it did.

    A cut after the record was made leaves one, and so does an update's state that was lost.
    """
    status = slots.status(paths)
    if load_update(paths).stage is Stage.TRIAL or not status.committed or not status.trial:
        return False
    slots.commit(paths)
    return True


def finish_commit(paths: Paths, state: UpdateState, now: float) -> None:
    """The booted slot was committed: put it on record and leave nothing behind."""
    outcome = _outcome(state, Result.COMMITTED, now)
    add_outcome(paths, outcome)
    note_commit(paths)
    kept.drop(paths)
    drop_trial_log(paths)
    save_update(paths, UpdateState(since=now))
    logger.info("version %s in slot %s stays", state.version, state.slot)


def note_fallback(paths: Paths, version: str, now: float) -> None:
    """The booted slot was committed without an update: the one before it did not start any more.

    ``version`` is the one that runs. What it replaces is on record, so that the owner learns of it
    and it is not installed again by itself.
    """
    note_commit(paths)
    newest, booted = find_started(load_history(paths)), slots.booted_slot(paths)
    if newest is None or newest.result is not Result.COMMITTED or newest.slot == booted:
        return
    outcome = Outcome(
        result=Result.ROLLED_BACK,
        version=newest.version,
        from_version=version,
        slot=newest.slot,
        at=now,
        reason=f"it did not get ready any more, so version {version} runs again",
    )
    add_outcome(paths, outcome)


def _roll_back(paths: Paths, state: UpdateState, now: float) -> None:
    for name in kept.put_back(paths):
        logger.warning("%s was put back as it was before the update", name)
    outcome = _recorded(paths, state) or _record(paths, state, now)
    save_update(paths, UpdateState(since=now, error=f"{state.version}: {outcome.reason}"))
    slots.commit(paths)
    kept.drop(paths)
    drop_trial_log(paths)
    logger.warning("version %s was rolled back: %s", state.version, outcome.reason)


def _recorded(paths: Paths, state: UpdateState) -> Outcome | None:
    """This roll-back, where a cut came after the record of it."""
    newest = next(iter(load_history(paths)), None)
    if newest is None or newest.result is not Result.ROLLED_BACK or newest.at < state.since:
        return None
    return newest if (newest.version, newest.slot) == (state.version, state.slot) else None


def _record(paths: Paths, state: UpdateState, now: float) -> Outcome:
    name, failure = _find_failure(paths, state) or _write_failure(paths, state, now)
    outcome = _outcome(state, Result.ROLLED_BACK, now)
    outside = is_outside(failure.checks)
    outcome = replace(outcome, reason=failure.reason, log=name, outside=outside)
    add_outcome(paths, outcome)
    return outcome


def _find_failure(paths: Paths, state: UpdateState) -> tuple[str, Failure] | None:
    """What the new version itself has left, if it is not on record for an earlier trial."""
    known = {outcome.log for outcome in load_history(paths)}
    for name, failure in load_failures(paths)[:1]:
        is_its = (failure.version, failure.slot) == (state.version, state.slot)
        if is_its and name not in known:
            return name, failure
    return None


def _write_failure(paths: Paths, state: UpdateState, now: float) -> tuple[str, Failure]:
    """From the marks of its starts and from the journal that the last one kept so far."""
    starts = trial_starts(load_marks(paths), state.slot)
    failure = Failure(
        version=state.version,
        from_version=state.from_version,
        slot=state.slot,
        reason=tell_reason(starts),
        at=now,
        starts=tell_starts(starts),
    )
    try:
        return save_failure(paths, failure, take_trial_log(paths)), failure
    except OSError as error:
        logger.warning("the failure is only in the history: %s", error)
        return "", failure


def tell_reason(starts: tuple[Start, ...]) -> str:
    """By the furthest that any start came."""
    order = tuple(Reached)
    furthest = max((start.stage for start in starts), key=order.index, default=None)
    count = len(starts)
    times = f" ({count} starts)" if count > 1 else ""
    return f"{REASONS.get(furthest, REASONS[None])}{times}"


def _recall(paths: Paths, state: UpdateState) -> bool:
    """Where both copies of the slot state were lost, the data partition knows who was committed.

    Whether another slot than the booted one must be started.
    """
    if slots.status(paths).committed_slot:
        return False
    booted, known = slots.booted_slot(paths), last_committed(load_history(paths))
    wanted = state.from_slot if state.stage is Stage.TRIAL else known
    slots.recall(paths, wanted or booted)
    return bool(wanted) and wanted != booted


def _outcome(state: UpdateState, result: Result, now: float) -> Outcome:
    return Outcome(
        result=result,
        version=state.version,
        from_version=state.from_version,
        slot=state.slot,
        at=now,
    )
