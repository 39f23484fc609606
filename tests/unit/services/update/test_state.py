from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ConfigError, ConflictError
from appliance.flatfacts import from_flat, to_flat
from appliance.paths import Paths
from appliance.release import ReleaseFacts
from appliance.update import Baseline, Outcome, Result, Stage, UpdateState
from services.update.state import (
    KEPT_OUTCOMES,
    add_outcome,
    history_file,
    is_update_running,
    last_committed,
    load_history,
    load_update,
    rolled_back,
    save_update,
    state_file,
    update_lock,
)

STATE = UpdateState(
    stage=Stage.TRIAL,
    version="1.1",
    slot="B",
    from_version="1.0",
    from_slot="A",
    baseline=Baseline(passed={"route": False, "database": True}, measured_at=5.0),
)
OUTCOME = Outcome(result=Result.COMMITTED, version="1.1", from_version="1.0", slot="B", at=7.0)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.hearth.mkdir(parents=True)
    return made


def test_what_is_saved_is_loaded(paths: Paths) -> None:
    assert load_update(paths) == UpdateState()
    save_update(paths, STATE)
    assert load_update(paths) == STATE
    assert state_file(paths).stat().st_mode & 0o777 == 0o640


def test_what_a_newer_version_added_is_passed_over(paths: Paths) -> None:
    save_update(paths, STATE)
    table = json.loads(state_file(paths).read_text())
    table["added_later"] = {"x": 1}
    table["baseline"]["also_added"] = True
    state_file(paths).write_text(json.dumps(table))
    assert load_update(paths) == STATE


@pytest.mark.parametrize("text", ["", "[]", "{", '{"stage": "flying"}', '{"percent": "7"}', "\0"])
def test_a_damaged_file_counts_as_idle(text: str, paths: Paths) -> None:
    save_update(paths, STATE)
    state_file(paths).write_text(text)
    assert load_update(paths) == UpdateState()


def test_the_history_is_bounded_and_the_newest_is_first(paths: Paths) -> None:
    for number in range(KEPT_OUTCOMES + 5):
        add_outcome(paths, replace(OUTCOME, version=f"1.{number}"))
    history = load_history(paths)
    assert len(history) == KEPT_OUTCOMES
    assert history[0].version == f"1.{KEPT_OUTCOMES + 4}"


def test_the_same_outcome_after_a_power_cut_is_one(paths: Paths) -> None:
    add_outcome(paths, OUTCOME)
    add_outcome(paths, replace(OUTCOME, at=99.0))
    assert load_history(paths) == (OUTCOME,)


def test_a_strange_entry_costs_no_other(paths: Paths) -> None:
    add_outcome(paths, OUTCOME)
    table = json.loads(history_file(paths).read_text())
    table["outcomes"] += [{"result": "exploded"}, 7, {**table["outcomes"][0], "new": 1}]
    history_file(paths).write_text(json.dumps(table))
    assert load_history(paths) == (OUTCOME, OUTCOME)
    history_file(paths).write_text('{"outcomes": {}}')
    assert load_history(paths) == ()


def test_what_the_history_says(paths: Paths) -> None:
    bad = replace(OUTCOME, result=Result.ROLLED_BACK, version="1.2", slot="A", reason="no pages")
    assert last_committed((bad, OUTCOME)) == "B"
    assert last_committed((bad,)) == ""
    assert rolled_back((bad, OUTCOME)) == {"1.2": "1.2 was tried here and did not work: no pages"}


def test_never_two_at_once(paths: Paths) -> None:
    assert not is_update_running(paths)
    with update_lock(paths):
        assert is_update_running(paths)
        with pytest.raises(ConflictError), update_lock(paths):
            pass
    assert not is_update_running(paths)
    with update_lock(paths):
        pass


FACTS = ReleaseFacts(
    version="1.1",
    boards=("rpi3", "rpi4"),
    minimum="1.0",
    synapse="1.163.0",
    synapse_schema=92,
    synapse_compatible=84,
)


def test_facts_survive_a_manifest() -> None:
    flat = to_flat(FACTS)
    assert flat["boards"] == "rpi3 rpi4"
    assert "dendrite" not in flat
    assert from_flat({**flat, "from_the_future": "x"}, where="bundle") == FACTS
    assert from_flat(to_flat(ReleaseFacts(version="1")), where="b") == ReleaseFacts(version="1")


@pytest.mark.parametrize("bad", [{"postgresql": "17.2"}, {"boot_interface": "-1"}, {"version": ""}])
def test_strange_facts_name_their_place(bad: dict[str, str]) -> None:
    flat = {**to_flat(FACTS), **bad}
    if bad.get("version") == "":
        del flat["version"]
    with pytest.raises(ConfigError, match="bundle"):
        from_flat(flat, where="bundle")
