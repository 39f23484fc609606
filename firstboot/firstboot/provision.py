"""From the owner's answers to a running homeserver: the steps in order, each recorded.

state.json is written after every change, so the progress page and the next boot know how far it
came. A step that is done already is skipped; the first failure ends the run, and the next run
goes on from there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from appliance.errors import ConfigError, HearthError
from appliance.log import logger, progress
from appliance.paths import Paths
from appliance.settings import load_settings
from appliance.state import Phase, State, StepState, StepStatus, load_state, save_state
from firstboot.steps import find_steps
from firstboot.steps.context import Context, NotYetError, Step
from services.owners import find_owner
from services.units import Units

# Synapse takes 150 s to answer on an emulated Pi that has two cores for itself.
START_SECONDS = 1800.0
READER = "hearth-ui"


def start_seconds() -> float:
    """How long a program may take to start; tests shorten it."""
    return float(os.environ.get("HEARTH_START_SECONDS", START_SECONDS))


def provision(
    paths: Paths,
    units: Units,
    *,
    steps: Sequence[Step] | None = None,
    now: Callable[[], float] = time.time,
) -> State:
    """Run all steps and return the READY state. Raises the first failure, recorded as FAILED."""
    if steps is None:
        steps = _plan(paths)
    recorder = Recorder(paths, steps, now)
    for step in steps:
        context = Context(
            paths=paths,
            units=units,
            report=partial(recorder.report, step.name),
            start_seconds=start_seconds(),
        )
        try:
            with progress(step.title):
                _run_step(step, context, recorder)
        except HearthError as error:
            recorder.fail(step.name, error.message, error.hint or "")
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            recorder.fail(step.name, message, "look at: journalctl -u hearth-provision")
            raise
    return recorder.finish()


def _plan(paths: Paths) -> Sequence[Step]:
    """Settings that cannot be read are the first step's to complain about, on record."""
    try:
        return find_steps(load_settings(paths.settings))
    except ConfigError:
        return find_steps(None)


def _run_step(step: Step, context: Context, recorder: Recorder) -> None:
    if step.is_done(context):
        recorder.skip(step.name)
        return
    recorder.start(step.name)
    try:
        step.apply(context)
    except NotYetError as error:
        logger.warning("%s: %s", step.title, error.message)
        recorder.postpone(step.name, error.message, error.hint)
        return
    recorder.change(step.name, state=StepState.DONE, ended=recorder.now(), detail="")


class Recorder:
    """The state of the run, on the card after every change."""

    def __init__(self, paths: Paths, steps: Sequence[Step], now: Callable[[], float]) -> None:
        self._file = paths.state
        self._owner = find_owner(paths, "root", READER)
        self.now = now
        before = {status.name: status for status in load_state(paths.state).steps}
        self._statuses = {step.name: _resumed(before.get(step.name), step) for step in steps}
        self._save(Phase.APPLYING)

    def start(self, name: str) -> None:
        self.change(
            name,
            state=StepState.RUNNING,
            started=self.now(),
            ended=0.0,
            detail="",
            error="",
            hint="",
        )

    def skip(self, name: str) -> None:
        """A step that an earlier run did counts as done, with the times of that run."""
        if self._statuses[name].state is not StepState.DONE:
            at = self.now()
            self.change(name, state=StepState.SKIPPED, started=at, ended=at, error="", hint="")

    def change(self, name: str, **changes: object) -> None:
        self._statuses[name] = replace(self._statuses[name], **changes)  # type: ignore[arg-type]
        self._save(Phase.APPLYING)

    def report(self, name: str, detail: str) -> None:
        self.change(name, detail=detail)

    def postpone(self, name: str, error: str, hint: str) -> None:
        at = self.now()
        self.change(name, state=StepState.LATER, ended=at, detail="", error=error, hint=hint)

    def fail(self, name: str, error: str, hint: str) -> None:
        self._statuses[name] = replace(
            self._statuses[name],
            state=StepState.FAILED,
            ended=self.now(),
            detail="",
            error=error,
            hint=hint,
        )
        self._save(Phase.FAILED)

    def finish(self) -> State:
        return self._save(Phase.READY)

    def _save(self, phase: Phase) -> State:
        state = State(phase=phase, steps=tuple(self._statuses.values()))
        save_state(state, self._file, owner=self._owner)
        return state


def _resumed(before: StepStatus | None, step: Step) -> StepStatus:
    """What an earlier run finished stays; what it left half-way or failed is pending again."""
    if before is not None and before.state in (StepState.DONE, StepState.SKIPPED):
        return replace(before, title=step.title)
    return StepStatus(name=step.name, title=step.title)
