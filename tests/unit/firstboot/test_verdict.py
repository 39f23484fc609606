"""A whole trial: a real card, a clock that tests turn, and measurements as they would come in."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from appliance.slotstate import ATTEMPTS_PRIMARY
from appliance.update import Result, Stage, UpdateState
from firstboot.settle import end_stale_trial, settle
from firstboot.verdict import Bench, pass_verdict
from services import slots
from services.failures import load_failures, load_log, take_trial_log
from services.health.stages import load_marks
from services.health.trial import MOST_STARTS, Bearing, Probe
from services.results import save_result
from services.snapshots.result import RESULT, DatabaseResult
from services.update.state import load_history, load_update, save_update
from unit.firstboot.trial_card import Cut, TrialCard, cut_at

WELL = {
    "homeserver": Probe(title="Homeserver", passed=True),
    "router": Probe(title="Router", passed=False, bearing=Bearing.OUTSIDE),
}
ILL = {**WELL, "homeserver": Probe(title="Homeserver", passed=False, evidence="no answer\nlog")}


class TurningClock:
    """Goes on only while somebody sleeps; after ``patience`` seconds the test has gone wrong."""

    def __init__(self, patience: float = 20_000.0) -> None:
        self.now, self._patience = 50.0, patience
        self.at: dict[float, Callable[[], None]] = {}

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_800_000_000.0 + self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds
        assert self.now < self._patience, "the verdict never came"
        for moment in [moment for moment in self.at if moment <= self.now]:
            self.at.pop(moment)()


class World:
    """``measurement`` is what the checks would find; restarts that were asked for are counted."""

    def __init__(self, root: Path) -> None:
        self.card = TrialCard(root)
        self.clock = TurningClock()
        self.measurement: Mapping[str, Probe] = WELL
        self.restarts = 0
        self.stopping = False
        (root / "usr/share/hearth").mkdir(parents=True)
        (root / "usr/share/hearth/image.json").write_text('{"version": "0.3.0+dev"}')

    def restart(self) -> None:
        self.restarts += 1

    def judge(self) -> int:
        bench = Bench(
            paths=self.card.paths,
            measure=lambda: self.measurement,
            clock=self.clock,
            reboot=self.restart,
            is_stopping=lambda: self.stopping,
            journal=lambda: f"journal at {self.clock.now:.0f}\n",
        )
        return pass_verdict(bench)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.card.begin_trial()
    assert made.card.boot() == "B"
    made.card.mark("initramfs")
    made.card.mark("systemd")
    return made


def test_a_healthy_version_stays(world: World) -> None:
    assert world.judge() == 0
    status = slots.status(world.card.paths)
    assert (status.committed, status.primary, status.left["B"]) == (True, "B", ATTEMPTS_PRIMARY)
    [outcome] = load_history(world.card.paths)
    assert (outcome.result, outcome.version, outcome.from_version) == (
        Result.COMMITTED, "0.3.0", "0.2.0",
    )  # fmt: skip
    assert load_update(world.card.paths).stage is Stage.IDLE
    assert world.restarts == 0
    assert 60 <= world.clock.now - 50 < 75
    assert load_failures(world.card.paths) == ()


def test_a_sick_version_goes_with_its_reason(world: World) -> None:
    world.measurement = ILL
    world.judge()
    assert world.restarts == 1
    [(name, failure)] = load_failures(world.card.paths)
    assert failure.reason == "not well after 15 minutes: Homeserver: no answer"
    assert failure.checks == {"homeserver": "no answer\nlog"}
    assert failure.boot == "b2"
    assert load_log(world.card.paths, name) == "journal at 950\n"
    assert take_trial_log(world.card.paths).startswith("journal at ")
    assert [mark.stage.value for mark in load_marks(world.card.paths)][-1] == "verdict"
    assert world.card.boot() == "A"
    settle(world.card.paths, reboot=world.restart)
    [outcome] = load_history(world.card.paths)
    assert (outcome.result, outcome.reason, outcome.log) == (
        Result.ROLLED_BACK, failure.reason, name,
    )  # fmt: skip
    assert world.card.boot() == "A"


def test_an_outage_from_before_is_no_reason(world: World) -> None:
    """Baseline: the router was not there (trial_card.STATE)."""
    world.measurement = WELL
    world.judge()
    assert slots.status(world.card.paths).committed


def test_a_late_recovery_is_in_time(world: World) -> None:
    world.measurement = ILL

    def recover() -> None:
        world.measurement = WELL

    world.clock.at[50 + 14 * 60 + 50] = recover
    assert world.judge() == 0
    assert slots.status(world.card.paths).committed


def test_settings_say_how_long_and_damaged_ones_do_not_matter(world: World) -> None:
    world.measurement = ILL
    text = 'version = 1\n[owner]\nname = "anna"\n[device]\n[server]\nname = "a.example.org"\n'
    world.card.paths.settings.write_text(text + "[updates]\nverdict_minutes = 2\n")
    world.judge()
    assert "after 2 minutes" in load_failures(world.card.paths)[0][1].reason
    world.card.paths.settings.write_text("nonsense")
    assert world.card.boot() == "A"
    settle(world.card.paths, reboot=world.restart)
    world.card.begin_trial()
    world.card.boot()
    world.clock = TurningClock()
    world.judge()
    assert "after 15 minutes" in load_failures(world.card.paths)[0][1].reason


def test_a_snapshot_in_the_making_is_waited_for(world: World) -> None:
    world.measurement = ILL
    save_result(world.card.paths, RESULT, DatabaseResult(running=True))

    def done() -> None:
        save_result(world.card.paths, RESULT, DatabaseResult(running=False))
        world.measurement = WELL

    world.clock.at[50 + 40 * 60] = done
    assert world.judge() == 0
    assert slots.status(world.card.paths).committed


def test_a_check_that_breaks_counts_against_its_version(world: World) -> None:
    def broken() -> Mapping[str, Probe]:
        raise RuntimeError("no such table")

    bench = Bench(
        paths=world.card.paths, measure=broken, clock=world.clock, reboot=world.restart,
        journal=lambda: "",
    )  # fmt: skip
    pass_verdict(bench)
    assert "RuntimeError: no such table" in load_failures(world.card.paths)[0][1].reason
    assert world.card.boot() == "A"


def stop_at(world: World, seconds: float) -> None:
    def stop() -> None:
        # After a verdict it would just end the process, and that is the tests' own.
        if not world.restarts:
            os.kill(os.getpid(), signal.SIGTERM)

    world.clock.at[seconds] = stop


def test_an_orderly_restart_costs_no_attempt(world: World) -> None:
    world.measurement = ILL
    world.stopping = True
    for _ in range(5):
        stop_at(world, world.clock.now + 100)
        assert world.judge() == 0
        assert world.card.boot() == "B"
        assert world.card.state.left["B"] == 2
    assert world.restarts == 0
    assert load_history(world.card.paths) == ()


def test_stopping_only_the_unit_gives_nothing_back(world: World) -> None:
    stop_at(world, 80)
    assert world.judge() == 0
    assert world.card.state.left["B"] == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_version_that_only_ever_restarts_goes_too(world: World) -> None:
    world.measurement = ILL
    world.stopping = True
    for _ in range(MOST_STARTS + 1):
        stop_at(world, world.clock.now + 100)
        world.judge()
        if world.restarts:
            break
        assert world.card.boot() == "B"
        world.card.mark("initramfs")
    assert world.restarts == 1
    assert "restarted 13 times" in load_failures(world.card.paths)[0][1].reason
    assert world.card.boot() == "A"


def test_power_cuts_use_up_the_attempts(world: World) -> None:
    assert [world.card.boot() for _ in range(3)] == ["B", "B", "A"]


def test_a_committed_slot_is_left_alone(world: World) -> None:
    slots.commit(world.card.paths)
    world.measurement = ILL
    before = world.card.disk.read_bytes()
    assert world.judge() == 0
    assert world.card.disk.read_bytes() == before
    assert world.restarts == 0


def test_a_trial_whose_record_was_lost_is_judged_all_the_same(world: World) -> None:
    save_update(world.card.paths, UpdateState())
    world.measurement = ILL
    world.judge()
    assert load_failures(world.card.paths)[0][1].version == "0.3.0+dev"
    assert world.card.boot() == "A"


def test_an_old_version_that_has_to_step_in_again_says_so(world: World) -> None:
    """B was committed, and months later it does not get ready any more: A is its fallback."""
    world.judge()
    (world.card.paths.root / "usr/share/hearth/image.json").write_text('{"version": "0.2.0"}')
    assert [world.card.boot() for _ in range(9)] == ["B"] * 7 + ["A"] * 2
    assert not slots.status(world.card.paths).committed
    world.judge()
    assert slots.status(world.card.paths).committed
    newest = load_history(world.card.paths)[0]
    assert (newest.result, newest.version, newest.slot) == (Result.ROLLED_BACK, "0.3.0", "B")
    assert newest.reason == "it did not get ready any more, so version 0.2.0 runs again"
    assert world.card.boot() == "A"


def test_a_fallback_stays_however_ill_it_is(world: World) -> None:
    """An expired certificate, a database that it cannot read: B, which does not start, is worse."""
    world.judge()
    world.measurement = ILL
    assert [world.card.boot() for _ in range(8)] == ["B"] * 7 + ["A"]
    assert world.judge() == 0
    assert (world.restarts, load_failures(world.card.paths)) == (0, ())
    assert load_history(world.card.paths)[0].result is Result.ROLLED_BACK
    assert slots.status(world.card.paths).committed
    assert [world.card.boot() for _ in range(8)] == ["A"] * 7 + ["rescue"]
    assert slots.booted_slot(world.card.paths) == "A"


@pytest.mark.parametrize("count", range(4))
def test_a_cut_at_any_write_of_stepping_in(
    world: World, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.judge()
    world.measurement = ILL
    assert [world.card.boot() for _ in range(8)] == ["B"] * 7 + ["A"]
    with monkeypatch.context() as power:
        cut_at(count, power)
        with contextlib.suppress(Cut):
            world.judge()
    assert world.card.boot() == "A"
    settle(world.card.paths, reboot=world.restart)
    world.judge()
    status = slots.status(world.card.paths)
    assert (status.committed, status.trial, world.restarts) == (True, "", 0)
    assert [one.result for one in load_history(world.card.paths)] == [
        Result.ROLLED_BACK, Result.COMMITTED,
    ]  # fmt: skip


def test_a_fallback_on_a_worn_card_runs_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.judge()
    world.measurement = ILL
    assert [world.card.boot() for _ in range(8)] == ["B"] * 7 + ["A"]

    def worn(*_arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as card:
        card.setattr(os, "pwrite", worn)
        card.setattr(os, "replace", worn)
        assert world.judge() == 0
    assert world.restarts == 0
    assert not slots.status(world.card.paths).committed


def test_a_card_that_is_full_keeps_no_good_version_from_staying(world: World) -> None:
    update = world.card.paths.update
    hidden = update.with_name("hidden")
    world.clock.at[80] = lambda: update.rename(hidden) and update.write_text("no directory")
    assert world.judge() == 0
    assert slots.status(world.card.paths).committed
    update.unlink()
    hidden.rename(update)
    settle(world.card.paths, reboot=world.restart)
    assert [one.result for one in load_history(world.card.paths)] == [Result.COMMITTED]


@pytest.mark.parametrize("count", range(12))
def test_a_cut_at_any_write_of_the_commit(
    world: World, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as power:
        cut_at(count, power)
        with contextlib.suppress(Cut):
            world.judge()
    assert world.card.boot() == "B"
    settle(world.card.paths, reboot=world.restart)
    world.judge()
    assert [one.result for one in load_history(world.card.paths)] == [Result.COMMITTED]
    assert load_update(world.card.paths).stage is Stage.IDLE
    status = slots.status(world.card.paths)
    assert (status.committed, status.trial, world.restarts) == (True, "", 0)


@pytest.mark.parametrize("count", range(12))
def test_a_cut_at_any_write_of_the_way_back(
    world: World, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.measurement = ILL
    with monkeypatch.context() as power:
        cut_at(count, power)
        with contextlib.suppress(Cut):
            world.judge()
    if world.card.boot() == "B":
        settle(world.card.paths, reboot=world.restart)
        world.clock = TurningClock()
        world.judge()
        assert world.card.boot() == "A"
    settle(world.card.paths, reboot=world.restart)
    end_stale_trial(world.card.paths)
    [outcome] = load_history(world.card.paths)
    assert outcome.result is Result.ROLLED_BACK
    assert outcome.reason == "not well after 15 minutes: Homeserver: no answer"
    assert load_log(world.card.paths, outcome.log)
    assert load_update(world.card.paths).stage is Stage.IDLE
    assert slots.status(world.card.paths).committed


def test_a_restart_that_never_comes_ends_in_failure(world: World) -> None:
    """systemd's FailureAction= then does it by force."""
    world.measurement = ILL
    assert world.judge() == 1


def test_whatever_cannot_be_written_the_restart_comes(world: World) -> None:
    world.measurement = ILL
    world.card.paths.failures.write_text("no directory")
    (world.card.paths.system / "boots").unlink()
    (world.card.paths.system / "boots").mkdir()
    world.judge()
    assert world.restarts == 1
    assert world.card.boot() == "A"


def test_a_slot_state_that_cannot_be_written_still_ends_by_its_attempts(world: World) -> None:
    world.measurement = ILL
    disk = world.card.disk
    stop = disk.with_name("elsewhere")
    world.clock.at[900] = lambda: disk.rename(stop) and None
    world.judge()
    stop.rename(disk)
    assert world.restarts == 1
    assert [world.card.boot() for _ in range(3)] == ["B", "B", "A"]
