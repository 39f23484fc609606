"""What doctor and status say about updates."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.update import Outcome, Result, Stage, UpdateState
from services.health.result import CheckResult, Examination, Verdict
from services.health.updates import UpdatesCheck, tell_outcome
from services.results import save_result
from services.update import channel
from services.update.state import add_outcome, save_update
from unit.services.appliance_files import RecordedUnits

BACK = Outcome(
    result=Result.ROLLED_BACK,
    version="0.3.0",
    from_version="0.2.0",
    slot="B",
    at=1_800_000_000.0,
    reason="not well after 15 minutes: Homeserver: no answer",
    log="0001-0.3.0-B",
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    for directory in (made.hearth, made.runtime):
        directory.mkdir(parents=True)
    made.boot_report.write_text("slot=A\ndata=ok\nrescue=0\n")
    return made


def look(paths: Paths) -> CheckResult:
    examination = Examination(paths=paths, units=RecordedUnits(), settings=None)
    return UpdatesCheck().run(examination)


def test_nothing_happened_yet(paths: Paths) -> None:
    found = look(paths)
    assert (found.verdict, found.evidence) == (Verdict.OK, "none so far")


def test_a_roll_back_is_told_with_its_reason_until_something_else_happens(paths: Paths) -> None:
    add_outcome(paths, BACK)
    found = look(paths)
    assert found.verdict is Verdict.WARN
    assert "0.3.0 was rolled back on 2027-01-15: not well after 15 minutes" in found.evidence
    assert found.hint.endswith("data/failures/0001-0.3.0-B")
    add_outcome(paths, replace(BACK, result=Result.COMMITTED, reason="", log=""))
    assert look(paths).verdict is Verdict.OK
    assert tell_outcome(replace(BACK, result=Result.COMMITTED, reason="")) == (
        "version 0.3.0 stayed on 2027-01-15"
    )


@pytest.mark.parametrize(
    ("stage", "words", "verdict"),
    [
        (Stage.INSTALLING, "is being installed: 40 %", Verdict.OK),
        (Stage.INSTALLED, "waits for the restart", Verdict.OK),
        (Stage.TRIAL, "is on trial in slot B", Verdict.WARN),
    ],
)
def test_what_is_going_on(paths: Paths, stage: Stage, words: str, verdict: Verdict) -> None:
    save_update(paths, UpdateState(stage=stage, version="0.3.0", slot="B", percent=40))
    found = look(paths)
    assert words in found.evidence
    assert found.verdict is verdict


def test_a_channel_that_is_silent_for_a_week_is_told(paths: Paths) -> None:
    now = time.time()
    heard = channel.CheckResult(at=now, checked_at=now - 3600, source="http://x/", error="refused")
    save_result(paths, channel.RESULT, heard)
    found = look(paths)
    assert found.verdict is Verdict.OK
    assert "since then: refused" in found.evidence
    save_result(paths, channel.RESULT, replace(heard, checked_at=now - 8 * 86400))
    assert look(paths).verdict is Verdict.WARN
    save_result(paths, channel.RESULT, replace(heard, checked_at=0.0, hint="mend the router"))
    found = look(paths)
    assert "never answered: refused" in found.evidence
    assert found.hint == "mend the router"


def test_rescue_mode_is_a_failure(paths: Paths) -> None:
    paths.boot_report.write_text("slot=A\ndata=ok\nrescue=1\n")
    assert look(paths).verdict is Verdict.FAIL
