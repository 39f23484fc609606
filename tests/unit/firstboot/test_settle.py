"""The old slot finds out what became of the new one; every write of it may be the last."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.slotstate import ATTEMPTS_PRIMARY
from appliance.update import Outcome, Result, Stage, UpdateState
from firstboot import settle as module
from firstboot.settle import Settlement, end_stale_trial, note_fallback, settle
from services import slots
from services.failures import Failure, keep_trial_log, load_failures, load_log, save_failure
from services.update.state import add_outcome, load_history, load_update, save_update
from unit.firstboot.trial_card import STATE, Cut, TrialCard, cut_at
from vm.faults import FAULTS


@pytest.fixture
def card(tmp_path: Path) -> TrialCard:
    return TrialCard(tmp_path)


def never() -> None:
    pytest.fail("no restart was due")


def settled(card: TrialCard) -> Settlement:
    return settle(card.paths, reboot=never, now=lambda: 2000.0)


def use_up(card: TrialCard, *stages: str) -> None:
    """Three starts of B that come to ``stages`` and no further, then the old slot's."""
    for _ in range(3):
        assert card.boot() == "B"
        for stage in stages:
            card.mark(stage)
    assert card.boot() == "A"


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((), "its kernel did not get as far as the start-up program"),
        (("initramfs",), "before systemd (3 starts)"),
        (("initramfs", "systemd"), "hung or lost power before a verdict"),
    ],
)
def test_a_version_that_never_came_to_a_verdict(
    card: TrialCard, stages: tuple[str, ...], words: str
) -> None:
    card.begin_trial()
    use_up(card, *stages)
    keep_trial_log(card.paths, "the last words\n")
    assert settled(card) is Settlement.ROLLED_BACK
    [outcome] = load_history(card.paths)
    assert (outcome.result, outcome.version, outcome.slot) == (Result.ROLLED_BACK, "0.3.0", "B")
    assert words in outcome.reason
    [(name, failure)] = load_failures(card.paths)
    assert outcome.log == name
    assert failure.reason == outcome.reason
    assert load_log(card.paths, name) == "the last words\n"
    found = load_update(card.paths)
    assert found.stage is Stage.IDLE
    assert "0.3.0" in found.error
    assert card.state.order == ("A", "B")
    assert card.state.left == {"A": ATTEMPTS_PRIMARY, "B": 0}
    assert settled(card) is Settlement.NOTHING


@pytest.mark.parametrize("name", FAULTS)
def test_the_machines_tests_expect_one_reason_of_each_fault(name: str) -> None:
    """A word that all of them share would pass whatever the owner is told."""
    told = [reason for reason in module.REASONS.values() if FAULTS[name].reason in reason.lower()]
    assert told in ([], [FAULTS[name].reason])


def test_the_verdicts_own_reason_is_taken(card: TrialCard) -> None:
    save_failure(card.paths, Failure(version="0.3.0", slot="B", reason="of another trial"), "")
    older = Outcome(result=Result.ROLLED_BACK, version="0.3.0", from_version="0.2.0", slot="B",
                    at=0.0, log="0001-0.3.0-B")  # fmt: skip
    add_outcome(card.paths, older)
    card.begin_trial()
    card.boot()
    name = save_failure(card.paths, Failure(version="0.3.0", slot="B", reason="no agent"), "log\n")
    slots.mark_bad(card.paths, "B")
    assert card.boot() == "A"
    assert settled(card) is Settlement.ROLLED_BACK
    newest = load_history(card.paths)[0]
    assert (newest.reason, newest.log) == ("no agent", name)
    assert len(load_failures(card.paths)) == 2


@pytest.mark.parametrize(
    ("checks", "outside"),
    [({"router": "x"}, True), ({"clock": "x", "router": "x"}, True),
     ({"router": "x", "homeserver": "x"}, False), ({}, False)],
)  # fmt: skip
def test_faults_from_outside_alone_are_told_from_others(
    card: TrialCard, checks: dict[str, str], outside: bool
) -> None:
    card.begin_trial()
    card.boot()
    save_failure(card.paths, Failure(version="0.3.0", slot="B", reason="ill", checks=checks), "")
    slots.mark_bad(card.paths, "B")
    assert card.boot() == "A"
    settled(card)
    assert load_history(card.paths)[0].outside is outside


def test_an_earlier_trials_reason_is_not_taken_for_this_one(card: TrialCard) -> None:
    name = save_failure(card.paths, Failure(version="0.3.0", slot="B", reason="of another"), "")
    older = Outcome(result=Result.ROLLED_BACK, version="0.3.0", from_version="0.2.0", slot="B",
                    at=0.0, log=name)  # fmt: skip
    add_outcome(card.paths, older)
    card.begin_trial()
    use_up(card)
    settled(card)
    assert "kernel" in load_history(card.paths)[0].reason


def test_a_trial_that_never_began_waits_again(card: TrialCard) -> None:
    """The power went after the state and before the slots."""
    save_update(card.paths, STATE)
    assert card.boot() == "A"
    assert settled(card) is Settlement.INSTALLED
    assert load_update(card.paths).stage is Stage.INSTALLED
    assert load_update(card.paths).version == "0.3.0"
    assert load_history(card.paths) == ()


def test_nothing_is_settled_before_the_restart_nor_during_the_trial(card: TrialCard) -> None:
    card.begin_trial()
    assert settled(card) is Settlement.NOTHING
    card.boot()
    assert settled(card) is Settlement.NOTHING
    assert load_update(card.paths) == STATE


def test_a_commit_without_its_record_is_made_good(card: TrialCard) -> None:
    card.begin_trial()
    card.boot()
    slots.commit(card.paths)
    card.boot()
    assert settled(card) is Settlement.COMMITTED
    [outcome] = load_history(card.paths)
    assert (outcome.result, outcome.version) == (Result.COMMITTED, "0.3.0")
    assert load_update(card.paths) == UpdateState(since=2000.0)


def test_the_owners_files_come_back_when_they_cannot_be_read(card: TrialCard) -> None:
    from services.update import kept

    good = 'version = 1\n[owner]\nname = "anna"\n[device]\n[server]\nname = "a.example.org"\n'
    card.paths.settings.write_text(good)
    kept.keep(card.paths)
    card.begin_trial()
    use_up(card)
    card.paths.settings.write_text(good + "[future]\nfield = 1\n")
    settled(card)
    assert card.paths.settings.read_text() == good


def test_both_copies_lost_leads_to_the_slot_that_had_proved_itself(card: TrialCard) -> None:
    add_outcome(card.paths, Outcome(result=Result.COMMITTED, version="0.3.0", slot="B", at=1.0,
                                    from_version="0.2.0"))  # fmt: skip
    card.boot_from_defaults()
    asked = []
    settle(card.paths, reboot=lambda: asked.append("restart"))
    assert asked == ["restart"]
    assert card.state.committed == "B"
    assert card.boot() == "B"
    assert settled(card) is Settlement.NOTHING
    assert slots.status(card.paths).committed


def test_both_copies_lost_after_the_old_slot_had_to_step_in(card: TrialCard) -> None:
    """B proved itself, failed to install something, and then did not start any more."""
    done = Outcome(result=Result.COMMITTED, version="0.3.0", slot="B", at=1.0, from_version="0.2.0")
    add_outcome(card.paths, done)
    add_outcome(card.paths, replace(done, result=Result.NOT_INSTALLED, version="0.4.0", slot="A"))
    note_fallback(card.paths, "0.2.0", 2.0)
    newest = load_history(card.paths)[0]
    assert (newest.result, newest.version, newest.slot) == (Result.ROLLED_BACK, "0.3.0", "B")
    add_outcome(card.paths, replace(done, result=Result.NOT_INSTALLED, version="0.4.0", slot="B"))
    note_fallback(card.paths, "0.2.0", 3.0)
    assert len(load_history(card.paths)) == 4, "on record once"
    card.boot_from_defaults()
    assert settled(card) is Settlement.NOTHING
    assert card.state.committed == "A"


def test_both_copies_lost_where_nothing_was_ever_updated(card: TrialCard) -> None:
    card.boot_from_defaults()
    assert settled(card) is Settlement.NOTHING
    assert slots.status(card.paths).committed


def test_both_copies_lost_in_a_trial(card: TrialCard) -> None:
    card.begin_trial()
    card.boot_from_defaults()
    assert settled(card) is Settlement.INSTALLED
    assert card.state.committed == "A"


def test_both_copies_lost_after_a_roll_back(card: TrialCard) -> None:
    add_outcome(card.paths, Outcome(result=Result.ROLLED_BACK, version="0.3.0", slot="B", at=1.0,
                                    from_version="0.2.0"))  # fmt: skip
    card.boot_from_defaults()
    settled(card)
    assert card.state.committed == "A"


@pytest.mark.parametrize("count", range(12))
@pytest.mark.parametrize("has_reason", [True, False])
def test_a_cut_at_any_write_ends_in_the_same_place(
    card: TrialCard, count: int, has_reason: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    card.begin_trial()
    use_up(card, "initramfs")
    keep_trial_log(card.paths, "log\n")
    if has_reason:
        save_failure(card.paths, Failure(version="0.3.0", slot="B", reason="no agent"), "")
    with monkeypatch.context() as power:
        cut_at(count, power)
        with contextlib.suppress(Cut):
            settled(card)
    assert card.boot() == "A"
    settled(card)
    end_stale_trial(card.paths)
    assert [one.result for one in load_history(card.paths)] == [Result.ROLLED_BACK]
    assert load_update(card.paths).stage is Stage.IDLE
    status = slots.status(card.paths)
    assert (status.booted, status.trial, status.committed) == ("A", "", True)
    assert card.state.left["B"] == 0


def test_a_stale_trial_goes_and_a_real_one_stays(card: TrialCard) -> None:
    assert not end_stale_trial(card.paths)
    card.begin_trial()
    assert not end_stale_trial(card.paths)
    save_update(card.paths, UpdateState())
    assert end_stale_trial(card.paths)
    assert card.boot() == "A"


def test_a_card_without_room_still_goes_back(
    card: TrialCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure's directory cannot be made; history and state still can."""
    card.begin_trial()
    use_up(card)
    card.paths.failures.write_text("no directory here")
    assert settled(card) is Settlement.ROLLED_BACK
    [outcome] = load_history(card.paths)
    assert outcome.log == ""
    assert "kernel" in outcome.reason
    assert module.REASONS[None] in outcome.reason
