"""How the last update went, and whether news of new ones arrive."""

from __future__ import annotations

import time
from dataclasses import dataclass

from appliance.bootreport import load_boot_report
from appliance.paths import Paths
from appliance.update import Outcome, Result, Stage, UpdateState
from services.health.result import CheckResult, Examination, failed, passed, warned
from services.results import load_result
from services.update.state import load_history, load_update

DAY = 86400
SILENT_DAYS = 7  # a channel is asked once a day


@dataclass(frozen=True)
class UpdatesCheck:
    name: str = "updates"
    title: str = "Updates"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        paths = examination.paths
        if load_boot_report(paths.boot_report).rescue:
            hint = "see the first page for what happened, and for what can be done"
            return failed("rescue mode: no version started as it should", hint)
        state, history = load_update(paths), load_history(paths)
        lines = [line for line in (tell_state(state), _tell_last(history)) if line]
        channel, channel_hint = _look_at_channel(paths, time.time())
        evidence = "\n".join([*lines, *([channel] if channel else [])]) or "none so far"
        if state.stage is Stage.TRIAL:
            return warned(evidence, "wait for the verdict: it stays or goes by itself")
        if history and history[0].result is not Result.COMMITTED:
            log = f"look at {paths.failures / history[0].log}" if history[0].log else ""
            return warned(evidence, log or "it is not tried again by itself: wait for the next one")
        if channel_hint:
            return warned(evidence, channel_hint)
        return passed(evidence)


def tell_state(state: UpdateState) -> str:
    """What is going on, in a line; an empty one when nothing is."""
    match state.stage:
        case Stage.INSTALLING:
            return f"version {state.version} is being installed: {state.percent} %"
        case Stage.INSTALLED:
            return f"version {state.version} is installed and waits for the restart"
        case Stage.TRIAL:
            return f"version {state.version} is on trial in slot {state.slot}"
        case Stage.IDLE:
            return ""


def tell_outcome(outcome: Outcome) -> str:
    """One update in the past, in a line."""
    words = {
        Result.COMMITTED: "stayed",
        Result.ROLLED_BACK: "was rolled back",
        Result.NOT_INSTALLED: "could not be installed",
    }
    line = f"version {outcome.version} {words[outcome.result]} on {_day(outcome.at)}"
    if outcome.reason:
        line += f": {outcome.reason}"
    return line


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _tell_last(history: tuple[Outcome, ...]) -> str:
    return tell_outcome(history[0]) if history else ""


def _look_at_channel(paths: Paths, now: float) -> tuple[str, str]:
    """When news were heard last, and what to do if that is too long ago."""
    from services.update.channel import RESULT, CheckResult

    checked = load_result(paths, RESULT, CheckResult)
    if checked is None:
        return "", ""
    if not checked.checked_at:
        line = f"the channel has never answered: {checked.error or 'not asked yet'}"
        return line, checked.hint or "hearthctl update check"
    line = f"the channel answered last on {_day(checked.checked_at)}"
    if checked.error:
        line += f"; since then: {checked.error}"
    is_silent = now - checked.checked_at > SILENT_DAYS * DAY
    return line, (checked.hint or "hearthctl update check") if is_silent else ""
