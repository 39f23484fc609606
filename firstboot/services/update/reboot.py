"""From "installed" to the first start of the new version: what is kept, measured and written.

In this order, each step safe to be cut after, and all of it safe to be done again:

    the owner's files are copied          a copy too many does no harm
    the baseline is measured              by now nothing has changed
    the state becomes TRIAL               the slots do not know of it: the start undoes it
    the slots try the other one next      from here on only the trial's end leads back
    the machine restarts                  asked for again until it does

The caller holds services.update.lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from appliance.deadline import WallClock
from appliance.errors import HearthError, ImageError, StateError
from appliance.log import logger, progress
from appliance.paths import Paths
from appliance.update import Baseline, Stage, UpdateState
from services import slots
from services.health import stages
from services.slots import SlotStatus
from services.snapshots.making import check_room
from services.units import Units
from services.update import kept
from services.update.gates import check_slots, check_space
from services.update.install import UNIT, require_installed
from services.update.rauc import Rauc
from services.update.state import load_update, save_update


def measure_now(paths: Paths) -> Baseline:
    """The baseline. All of the checks are only loaded here: most calls do not come so far."""
    from services.health.verdict import measure_baseline

    return measure_baseline(paths)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """``restart`` asks for the machine's restart and returns at once; tests stay on the ground."""

    paths: Paths
    restart: Callable[[], None]
    rauc: Rauc = field(default_factory=Rauc)
    clock: WallClock = time
    measure: Callable[[Paths], Baseline] = measure_now

    def begin(self) -> UpdateState:
        """Raises HearthError; then everything is as before, and the reason is in the state."""
        state, slot = load_update(self.paths), slots.status(self.paths)
        if is_waiting_for_restart(state, slot):
            self.restart()
            return state
        if is_only_on_record(state, slot):
            state = replace(state, stage=Stage.INSTALLED)
        check_slots(slot, state)
        try:
            return self._begin(state)
        except HearthError as error:
            # What the slot does not hold must be installed again.
            stage = Stage.IDLE if isinstance(error, ImageError) else state.stage
            self._undo(replace(state, stage=stage, error=error.message))
            raise

    def _begin(self, state: UpdateState) -> UpdateState:
        require_installed(self.paths, state, self.rauc)
        check_space(self.paths.data)
        kept.keep(self.paths)
        check_room(self.paths)
        with progress("Measuring what works now"):
            baseline = self.measure(self.paths)
        trial = replace(
            state, stage=Stage.TRIAL, baseline=baseline, since=self.clock.time(), error=""
        )
        save_update(self.paths, trial)
        stages.note_stage(self.paths, stages.Stage.TRIAL)
        slots.try_next(self.paths, trial.slot)
        logger.info("version %s in slot %s is tried next", trial.version, trial.slot)
        self.restart()
        return trial

    def _undo(self, state: UpdateState) -> None:
        """Back to what it was, unless the slots lead to the new version already."""
        if is_waiting_for_restart(load_update(self.paths), slots.status(self.paths)):
            logger.warning("the restart could not be asked for; it is tried again")
            return
        save_update(self.paths, state)
        kept.drop(self.paths)


def is_waiting_for_restart(state: UpdateState, slot: SlotStatus) -> bool:
    """Whether the trial was arranged, and the machine still runs the old version."""
    arranged = state.stage is Stage.TRIAL and slot.booted == state.from_slot
    return arranged and slot.trial == state.slot and slot.primary == state.slot


def is_only_on_record(state: UpdateState, slot: SlotStatus) -> bool:
    """Whether only the state speaks of a trial: whoever wrote it was killed before the slots."""
    old = state.stage is Stage.TRIAL and slot.booted == state.from_slot and slot.committed
    return old and slot.trial != state.slot


def cancel(paths: Paths, units: Units) -> UpdateState:
    """Forget what was, or is being, installed. Raises StateError where it is too late for that."""
    state, slot = load_update(paths), slots.status(paths)
    if is_waiting_for_restart(state, slot):
        slots.commit(paths)  # the booted one; the other keeps no attempts
        slots.mark_bad(paths, state.slot)
    elif state.stage is Stage.TRIAL and not is_only_on_record(state, slot):
        message = f"version {state.version} is being tried"
        raise StateError(message, hint="a restart does not end that: wait for the verdict")
    elif state.stage is Stage.IDLE and not state.source:
        raise StateError("there is no update to cancel", hint="hearthctl update status")
    if state.stage is Stage.INSTALLING:
        units.stop(UNIT)
    cancelled = UpdateState()
    save_update(paths, cancelled)
    kept.drop(paths)
    return cancelled
