"""The verdict on a slot that is on trial: looked at again and again until it is passed.

Well for long enough: commit. Not well in time: reason and journal are saved, the slot is marked
bad, and the restart leads to the old one. An orderly restart meanwhile gives the attempt back.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from appliance.deadline import WallClock
from appliance.errors import ConfigError, HearthError, ImageError
from appliance.log import logger
from appliance.notify import notify_alive, notify_ready
from appliance.paths import Paths
from appliance.settings import Updates, load_settings
from appliance.update import Baseline, Stage, UpdateState
from firstboot.host import SystemHost
from firstboot.settle import finish_commit, note_fallback
from firstboot.status import load_facts
from firstboot.update_health import look_at_all
from services import slots
from services.failures import Failure, keep_trial_log, read_journal, save_failure
from services.health import stages
from services.health.trial import (
    MOST_STARTS,
    ROUND_SECONDS,
    Act,
    Measurement,
    Probe,
    begin,
    failing,
    pause,
    plan,
    tell,
)
from services.health.verdict import measure
from services.results import load_result
from services.slots import SlotStatus
from services.snapshots.result import RESULT, DatabaseResult
from services.units import is_machine_stopping
from services.update.state import load_update

KEEP_EVERY = 60.0  # the journal so far, in case this start ends without a word
RESTART_SECONDS = 900.0  # beyond it the unit's FailureAction= takes over


class Stopped(BaseException):
    """SIGTERM, while waiting or looking."""


@dataclass(kw_only=True)
class Bench:
    """What the verdict is passed with; tests bring their own clock and machine."""

    paths: Paths
    measure: Callable[[], Measurement]
    clock: WallClock = time
    reboot: Callable[[], None] = field(default_factory=lambda: SystemHost().reboot)
    is_stopping: Callable[[], bool] = is_machine_stopping
    journal: Callable[[], str] = read_journal


def run_verdict(paths: Paths) -> int:
    """The unit: exit code 1 only when the restart that it asked for does not come."""
    look = look_at_all(paths)
    return pass_verdict(Bench(paths=paths, measure=lambda: measure(look)))


def pass_verdict(bench: Bench) -> int:
    """Without a readable slot state there is nothing to decide, and a restart would mend nothing:
    boot.scr would find the same card.
    """
    notify_ready()
    try:
        slot = slots.status(bench.paths)
    except ImageError as error:
        logger.warning("no verdict: %s", error.message)
        return 0
    if slot.committed:
        return 0
    if _is_last_one(slot):
        _step_in(bench)
        return 0
    state = load_update(bench.paths)
    try:
        with _interruptible():
            reason, faults = _judge(bench, _baseline(bench.paths, state))
    except Stopped:
        _give_back(bench)
        return 0
    if not reason:
        _commit(bench, state)
        return 0
    _go_back(bench, state, reason, faults)
    bench.clock.sleep(RESTART_SECONDS)
    return 1


def _is_last_one(slot: SlotStatus) -> bool:
    """A fallback, no trial: boot.scr has used up all attempts of the slot that was committed."""
    return bool(slot.committed_slot) and not slot.trial and not slot.left[slot.committed_slot]


def _step_in(bench: Bench) -> None:
    """However ill it is, there is nothing better to go back to: from now on it is what counts, and
    at the worst rescue mode starts this slot, which starts, instead of one that does not.

    The record first: after a cut all of it is done again.
    """
    logger.warning("the other slot does not start any more: this one stays, as it is")
    paths = bench.paths
    try:
        note_fallback(paths, load_facts(paths).version, bench.clock.time())
    except (HearthError, OSError) as error:
        logger.warning("that is not on record: %s", error)
    try:
        slots.commit(paths)
    except (HearthError, OSError) as error:
        logger.warning("it could not be made the committed one: %s", error)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the waiting; once a verdict is being carried out, it just ends the process."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Stopped

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _give_back(bench: Bench) -> None:
    """A failure here would only cost the attempt, and must not turn the restart into another."""
    try:
        if bench.is_stopping() and slots.give_back(bench.paths):
            logger.info("an orderly restart: this attempt is not counted")
    except (HearthError, OSError) as error:
        logger.warning("this attempt is counted all the same: %s", error)


def _baseline(paths: Paths, state: UpdateState) -> Baseline:
    """Of this very trial; without one, all that is ours must be well."""
    return state.baseline if _is_on_record(paths, state) else Baseline()


def _is_on_record(paths: Paths, state: UpdateState) -> bool:
    return state.stage is Stage.TRIAL and state.slot == slots.booted_slot(paths)


def _judge(bench: Bench, baseline: Baseline) -> tuple[str, Mapping[str, Probe]]:
    """Why the version must go, or an empty string; and what failed."""
    starts = stages.trial_starts(stages.load_marks(bench.paths), slots.booted_slot(bench.paths))
    if len(starts) > MOST_STARTS:
        return f"it was restarted {len(starts)} times before it had proved itself", {}
    trial = begin(bench.clock.monotonic(), _minutes(bench.paths))
    kept_at = trial.began
    while True:
        notify_alive()
        faults = failing(_measure(bench), baseline)
        now = bench.clock.monotonic()
        trial = pause(trial, now, is_preparing=_is_preparing(bench.paths))
        trial, act = plan(trial, faults, now)
        if act is Act.COMMIT:
            return "", {}
        if act is Act.GO_BACK:
            return tell(faults, trial), faults
        if faults and now - kept_at >= KEEP_EVERY:
            keep_trial_log(bench.paths, bench.journal())
            kept_at = now
        bench.clock.sleep(ROUND_SECONDS)


def _measure(bench: Bench) -> Measurement:
    """A verdict that breaks counts against the version whose code it is."""
    try:
        return bench.measure()
    except Exception as error:
        logger.exception("the checks broke")
        evidence = f"{type(error).__name__}: {error}"
        return {"verdict": Probe(title="The checks themselves", passed=False, evidence=evidence)}


def _minutes(paths: Paths) -> int:
    try:
        settings = load_settings(paths.settings)
    except ConfigError:
        settings = None  # it is among the faults
    return (settings.updates if settings else Updates()).verdict_minutes


def _is_preparing(paths: Paths) -> bool:
    """Whether the homeserver still waits for a snapshot of its database."""
    found = load_result(paths, RESULT, DatabaseResult)
    return found is not None and found.running


def _commit(bench: Bench, state: UpdateState) -> None:
    """Whatever cannot be written after the commit is made good by hearth-settle."""
    slots.commit(bench.paths)
    stages.note_stage(bench.paths, stages.Stage.VERDICT)
    now = bench.clock.time()
    try:
        if _is_on_record(bench.paths, state):
            finish_commit(bench.paths, state, now)
        else:
            note_fallback(bench.paths, load_facts(bench.paths).version, now)
    except (HearthError, OSError) as error:
        logger.warning("the commit is not on record yet: %s", error)


def _go_back(bench: Bench, state: UpdateState, reason: str, faults: Mapping[str, Probe]) -> None:
    """Nothing here may keep the restart from coming; the reason is saved as far as it can be."""
    paths, booted = bench.paths, slots.booted_slot(bench.paths)
    logger.error("this version goes: %s", reason)
    starts = stages.trial_starts(stages.load_marks(paths), booted)
    failure = Failure(
        version=state.version if _is_on_record(paths, state) else load_facts(paths).version,
        from_version=state.from_version,
        slot=booted,
        reason=reason,
        at=bench.clock.time(),
        boot=stages.boot_id(paths),
        checks={name: probe.evidence for name, probe in faults.items()},
        starts=stages.tell_starts(starts),
    )
    try:
        save_failure(paths, failure, bench.journal())
    except OSError as error:
        logger.warning("the reason cannot be saved: %s", error)
    stages.note_stage(paths, stages.Stage.VERDICT)
    try:
        slots.mark_bad(paths, booted)
    except (HearthError, OSError) as error:
        logger.warning("slot %s keeps its attempts: %s", booted, error)
    try:
        bench.reboot()
    except (HearthError, OSError) as error:
        logger.warning("the restart was refused: %s", error)
