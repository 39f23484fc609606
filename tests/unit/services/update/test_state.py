"""state.json and history.json: read by both slots' programs, written around power cuts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.update import Baseline, Outcome, Result, Stage, UpdateState
from services.update.state import (
    KEPT,
    RETRY_SECONDS,
    add_outcome,
    change_newest,
    last_committed,
    load_history,
    load_update,
    rolled_back,
    save_update,
)

TRIAL = UpdateState(
    stage=Stage.TRIAL,
    version="0.3.0",
    slot="B",
    from_version="0.2.0",
    from_slot="A",
    baseline=Baseline(passed={"router": True, "homeserver": False}, measured_at=5.0),
)
OUTCOME = Outcome(
    result=Result.ROLLED_BACK, version="0.3.0", from_version="0.2.0", slot="B", at=9.0
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.hearth.mkdir(parents=True)
    return made


def test_what_was_saved_is_read(paths: Paths) -> None:
    assert load_update(paths) == UpdateState()
    save_update(paths, TRIAL)
    assert load_update(paths) == TRIAL
    assert '"stage": "trial"' in (paths.update / "state.json").read_text(), "units look for it"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"stage": "dancing"}', "null", "\0" * 40])
def test_a_damaged_file_is_no_reason_to_stop(paths: Paths, text: str) -> None:
    save_update(paths, TRIAL)
    add_outcome(paths, OUTCOME)
    (paths.update / "state.json").write_text(text)
    (paths.update / "history.json").write_text(text)
    assert load_update(paths) == UpdateState()
    assert load_history(paths) == ()
    add_outcome(paths, OUTCOME)
    assert load_history(paths) == (OUTCOME,)


def test_fields_of_a_newer_version_are_passed_over(paths: Paths) -> None:
    save_update(paths, TRIAL)
    add_outcome(paths, OUTCOME)
    for name in ("state.json", "history.json"):
        file = paths.update / name
        table = json.loads(file.read_text())
        table["future"] = 1
        for inner in (table.get("baseline"), *table.get("outcomes", ())):
            if inner:
                inner["future"] = 2
        file.write_text(json.dumps(table))
    assert load_update(paths) == TRIAL
    assert load_history(paths) == (OUTCOME,)


def test_the_history_is_bounded_and_the_newest_first(paths: Paths) -> None:
    for number in range(KEPT + 5):
        add_outcome(paths, replace(OUTCOME, version=f"0.{number}"))
    history = load_history(paths)
    assert len(history) == KEPT
    assert history[0].version == f"0.{KEPT + 4}"


def test_the_same_outcome_after_a_power_cut_is_written_once(paths: Paths) -> None:
    add_outcome(paths, OUTCOME)
    add_outcome(paths, replace(OUTCOME, at=0.0))
    assert load_history(paths) == (OUTCOME,)
    add_outcome(paths, replace(OUTCOME, log="0002-0.3.0-B"))
    assert len(load_history(paths)) == 2


def test_what_became_known_later_is_added_to_the_newest(paths: Paths) -> None:
    add_outcome(paths, replace(OUTCOME, version="0.1.0"))
    add_outcome(paths, OUTCOME)
    change_newest(paths, replace(OUTCOME, database="kept"))
    assert [one.database for one in load_history(paths)] == ["kept", ""]


def test_what_the_history_says_of_slots_and_versions() -> None:
    bad = replace(OUTCOME, version="1.2", slot="A", reason="no pages")
    good = replace(OUTCOME, result=Result.COMMITTED)
    assert last_committed((bad, good)) == "B"
    assert last_committed((bad,)) == "B", "the one that came back"
    assert last_committed(()) == last_committed((replace(bad, slot=""),)) == ""
    failed = replace(OUTCOME, result=Result.NOT_INSTALLED, slot="A")
    assert last_committed((failed, good)) == "B"
    assert last_committed((failed,)) == ""
    assert last_committed((failed, replace(bad, slot="B"), good)) == "A", "it had to step in"
    words = {"1.2": "1.2 was tried here and did not work: no pages"}
    assert rolled_back((bad, good), now=bad.at + 9 * RETRY_SECONDS) == words


def test_what_failed_for_faults_from_outside_alone_is_tried_twice_again() -> None:
    """A router that was updated in the same night must not ban a version for ever."""
    bad = replace(OUTCOME, version="1.2", at=1e9, reason="no router", outside=True)
    day = RETRY_SECONDS
    assert rolled_back((bad,), now=1e9 + day - 1)
    assert not rolled_back((bad,), now=1e9 + day)
    assert not rolled_back((bad,), now=1e9 - day), "the clock was wrong then"
    assert not rolled_back((bad, bad), now=1e9 + day)
    assert rolled_back((bad, bad, bad), now=1e9 + day)
    assert rolled_back((bad, replace(bad, outside=False)), now=1e9 + day)
    assert rolled_back((replace(bad, outside=False),), now=1e9 + day)
