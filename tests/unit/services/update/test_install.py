"""Installing: what RAUC does is played by a bus of copied answers, all else is real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import (
    CommandError,
    ConfigError,
    ConflictError,
    DeadlineError,
    DiskFullError,
    HearthError,
    ImageError,
    SignatureError,
    StateError,
)
from appliance.update import Stage, UpdateState
from services import slots
from services.update import gates
from services.update.install import STALL_SECONDS, Installer, Wanted, require_installed
from services.update.rauc import Rauc
from services.update.state import load_update, save_update
from unit.clock import StillClock
from unit.services.appliance_files import RecordedUnits
from unit.services.update.bench import FACTS, URL, Bench, make_bench

WANTED = Wanted(source=URL, version="1.1")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = make_bench(tmp_path, monkeypatch)
    made.bundle(URL)
    return made


def installer(bench: Bench, seen: list[UpdateState] | None = None) -> Installer:
    report = seen.append if seen is not None else lambda state: None
    return Installer(bench.paths, units=RecordedUnits(), clock=StillClock(), report=report)


def test_an_installation_from_begin_to_end(bench: Bench) -> None:
    seen: list[UpdateState] = []
    state = installer(bench, seen).install(WANTED)
    assert (state.stage, state.version, state.slot, state.from_version, state.from_slot) == (
        Stage.INSTALLED, "1.1", "B", "1.0", "A",
    )  # fmt: skip
    assert load_update(bench.paths) == state
    assert [one.percent for one in seen if one.stage is Stage.INSTALLING] == [0, 40]
    assert seen[-2].message == "Copying image to rootfs.1"
    require_installed(bench.paths, state, Rauc())
    assert slots.status(bench.paths).primary == "A"  # nothing is started by this


def test_what_is_written_is_written_once_a_change(bench: Bench) -> None:
    bench.plan(steps=[[0, "a"], *[[50, "b"]] * 30, [50, "c"]])
    seen: list[UpdateState] = []
    installer(bench, seen).install(WANTED)
    assert [one.message for one in seen] == ["", "a", "b", ""]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("signature verification failed: Verify error: self-signed certificate", SignatureError),
        ("signature verification failed: Verify error: certificate revoked", SignatureError),
        ("Invalid bundle format: Failed to open bundle", ImageError),
        ("something that nobody has seen before", CommandError),
    ],
)
def test_a_bundle_that_rauc_refuses(said: str, kind: type[HearthError], bench: Bench) -> None:
    bench.bundle(URL, error=said)
    with pytest.raises(kind, match="RAUC: ") as caught:
        installer(bench).install(WANTED)
    state = load_update(bench.paths)
    assert (state.stage, state.error, state.source) == (Stage.IDLE, caught.value.message, URL)
    assert bench.read("calls") == {}
    assert caught.value.hint


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (replace(FACTS, version="1.0"), "not newer"),
        (replace(FACTS, version="0.9"), "not newer"),
        (replace(FACTS, boards=("rpi3",)), "not made for this board"),
        (replace(FACTS, minimum="1.1"), "come first"),
        (replace(FACTS, boot_interface=2), "start program"),
        (replace(FACTS, postgresql=18), "PostgreSQL 18"),
        (replace(FACTS, compatible="toaster"), "made for 'toaster'"),
    ],
)
def test_a_bundle_that_is_not_for_this_machine(facts, reason: str, bench: Bench) -> None:
    bench.bundle(URL, facts)
    with pytest.raises(ConfigError, match=reason):
        installer(bench).install(Wanted(source=URL))
    assert bench.read("calls") == {}


@pytest.mark.parametrize("meta", [{}, {"version": "7"}, {"version": "1.1", "postgresql": "x"}])
def test_a_bundle_that_says_too_little(meta: dict[str, str], bench: Bench) -> None:
    bench.bundle(URL, meta=meta)
    with pytest.raises(ConfigError, match="bundle"):
        installer(bench).install(WANTED)


def test_another_version_than_was_promised(bench: Bench) -> None:
    with pytest.raises(ImageError, match=r"hands out version 1\.1 as 1\.2"):
        installer(bench).install(Wanted(source=URL, version="1.2"))


def test_another_bundle_than_was_shown(bench: Bench) -> None:
    """A hostile server shows the new one and hands out an old one, signed once, with its holes."""
    bench.bundle("old", replace(FACTS, version="0.5"))
    bench.plan(swapped="old")
    with pytest.raises(ImageError, match="another bundle"):
        installer(bench).install(WANTED)
    state = load_update(bench.paths)
    assert state.stage is Stage.IDLE
    with pytest.raises(StateError):
        require_installed(bench.paths, state, Rauc())


def test_an_installation_that_fails_on_the_way(bench: Bench) -> None:
    bench.plan(error="Failed updating slot rootfs.1: Input/output error")
    with pytest.raises(ImageError, match="Input/output"):
        installer(bench).install(WANTED)
    bench.plan()
    assert installer(bench).install(WANTED).stage is Stage.INSTALLED


def test_a_rauc_that_dies_is_no_success(bench: Bench) -> None:
    """After a crash systemd starts it anew, idle and without an error."""
    bench.plan(crash=True)
    with pytest.raises(StateError, match="stopped in the middle"):
        installer(bench).install(WANTED)


def test_a_rauc_that_does_not_start(bench: Bench) -> None:
    (bench.rauc / "dead").touch()
    with pytest.raises(CommandError, match="not provided"):
        installer(bench).install(WANTED)


def test_an_installation_that_stands_still_is_ended(bench: Bench) -> None:
    bench.plan(steps=[[30, "x"]] * int(STALL_SECONDS * 2))
    it = installer(bench)
    # a clock of its own pace: the bus takes a process a step
    it.clock.sleep = lambda seconds: setattr(it.clock, "now", it.clock.now + 300)  # type: ignore[attr-defined,method-assign]
    with pytest.raises(DeadlineError, match="stood still for 30 min"):
        it.install(WANTED)
    assert it.units.acts == ["stop rauc.service"]  # type: ignore[attr-defined]
    assert load_update(bench.paths).stage is Stage.IDLE


def kill_while_installing(bench: Bench) -> UpdateState:
    class Killed(BaseException):
        pass

    def report(state: UpdateState) -> None:
        if state.percent == 10:
            raise Killed

    with pytest.raises(Killed):
        Installer(bench.paths, clock=StillClock(), report=report).install(WANTED)
    return load_update(bench.paths)


def test_who_was_killed_goes_on_where_rauc_is(bench: Bench) -> None:
    bench.plan(steps=[[10, "x"], [20, "x"], [30, "x"]])
    state = kill_while_installing(bench)
    assert state.stage is Stage.INSTALLING
    done = installer(bench).install(WANTED)
    assert (done.stage, done.transaction) == (Stage.INSTALLED, state.transaction)
    assert len(bench.read("calls")) == 1


def test_who_was_killed_finds_it_done(bench: Bench) -> None:
    bench.plan(steps=[[10, "x"], [20, "x"]])
    state = kill_while_installing(bench)
    while Rauc().look().is_installing:
        pass
    done = installer(bench).install(WANTED)
    assert (done.stage, done.transaction) == (Stage.INSTALLED, state.transaction)
    assert len(bench.read("calls")) == 1


def test_after_a_power_cut_it_begins_again(bench: Bench) -> None:
    bench.plan(steps=[[10, "x"], [20, "x"]])
    state = kill_while_installing(bench)
    bench.write("run", {})
    done = installer(bench).install(WANTED)
    assert done.stage is Stage.INSTALLED
    assert done.transaction != state.transaction


def test_somebody_elses_installation_is_left_alone(bench: Bench) -> None:
    Rauc().install(URL, "1-2-3")
    with pytest.raises(ConflictError, match="not started from here"):
        installer(bench).install(WANTED)


def test_a_card_that_fills_up_meanwhile_does_not_end_it(bench: Bench) -> None:
    """The state's directory is a full file system for a while: here, one that is not there."""
    away = bench.paths.hearth / "away"

    def report(state: UpdateState) -> None:
        if state.percent == 10:
            bench.paths.update.rename(away)
            bench.paths.update.write_text("")  # in its way
        if state.percent == 100:
            assert state.stage is Stage.INSTALLED

    bench.plan(steps=[[10, "x"], [20, "x"], [30, "x"], [40, "x"]])
    it = Installer(bench.paths, clock=StillClock(), report=report)
    with pytest.raises(OSError, match="update"):
        it.install(WANTED)  # it was seen to its end, which could not be written
    assert not Rauc().look().is_installing
    bench.paths.update.unlink()
    away.rename(bench.paths.update)
    assert load_update(bench.paths).stage is Stage.INSTALLING
    assert installer(bench).install(WANTED).stage is Stage.INSTALLED
    assert len(bench.read("calls")) == 1


def test_nothing_is_installed_during_a_trial(bench: Bench) -> None:
    save_update(bench.paths, UpdateState(stage=Stage.TRIAL, version="1.1"))
    with pytest.raises(StateError, match="on trial"):
        installer(bench).install(WANTED)
    assert load_update(bench.paths).stage is Stage.TRIAL


def test_nothing_is_installed_over_the_only_good_slot(bench: Bench) -> None:
    slots.try_next(bench.paths, "B")
    (bench.paths.root / "proc/cmdline").write_text("rauc.slot=B\n")
    with pytest.raises(StateError, match="has not proved itself"):
        installer(bench).install(WANTED)


def test_a_refused_newer_one_leaves_the_one_that_waits(bench: Bench) -> None:
    waiting = installer(bench).install(WANTED)
    with pytest.raises(ImageError):
        installer(bench).install(Wanted(source="gone", version="1.2"))
    assert load_update(bench.paths) == replace(waiting, error=load_update(bench.paths).error)


def test_a_slot_that_was_written_again_by_hand_is_not_started(bench: Bench) -> None:
    state = installer(bench).install(WANTED)
    bench.bundle("other", replace(FACTS, version="1.3"))
    Rauc().install("other", "by-hand")
    while Rauc().look().is_installing:
        pass
    with pytest.raises(ImageError, match="no longer holds"):
        require_installed(bench.paths, state, Rauc())


def test_a_full_card_is_told_before_anything_is_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real check on a real file system, with more wanted than any has."""
    monkeypatch.setattr(gates.check_space, "__kwdefaults__", {"needed": 2**62})
    with pytest.raises(DiskFullError, match="MiB are free"):
        installer(bench).install(WANTED)
    assert bench.read("calls") == {}
