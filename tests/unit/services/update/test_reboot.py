"""The way into the trial, with whoever does it killed after each of its writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import CommandError, HearthError, StateError
from appliance.paths import Paths
from appliance.settings import load_settings
from appliance.update import Baseline, Stage, UpdateState
from services import slots
from services.health.stages import load_marks
from services.update import kept, reboot
from services.update.state import load_update, save_update
from unit.services import bootscript
from unit.services.appliance_files import RecordedUnits
from unit.services.update.bench import SETTINGS, URL, Bench, make_installed

BASELINE = Baseline(passed={"route": True, "homeserver": False}, measured_at=3.0)


class KilledError(BaseException):
    pass


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_installed(tmp_path, monkeypatch)


def make_trial(bench: Bench, restarts: list[str] | None = None) -> reboot.Trial:
    found = restarts if restarts is not None else []
    return reboot.Trial(
        paths=bench.paths,
        restart=lambda: found.append("restart"),
        measure=lambda paths: BASELINE,
    )


def settings_are_kept(paths: Paths) -> bool:
    file = kept.directory(paths) / "settings.toml"
    return file.exists() and load_settings(file) == SETTINGS


def test_the_trial_begins(bench: Bench) -> None:
    restarts: list[str] = []
    state = make_trial(bench, restarts).begin()
    assert (state.stage, state.baseline) == (Stage.TRIAL, BASELINE)
    assert load_update(bench.paths) == state
    assert settings_are_kept(bench.paths)
    assert [(mark.slot, mark.stage) for mark in load_marks(bench.paths)] == [("A", "trial")]
    assert restarts == ["restart"]
    assert bootscript.boot(bench.paths.root / "card").slot == "B"


KILLS = ["keep", "save_update", "note_stage", "try_next", "restart"]


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("where", KILLS)
def test_killed_at_any_write_it_can_be_done_again(
    where: str, before: bool, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {
        "keep": (kept, "keep"),
        "save_update": (reboot, "save_update"),
        "note_stage": (reboot.stages, "note_stage"),
        "try_next": (slots, "try_next"),
    }
    trial = make_trial(bench)

    def killing(real: Callable[..., object]) -> Callable[..., None]:
        def act(*arguments: object) -> None:
            if not before:
                real(*arguments)
            raise KilledError

        return act

    with monkeypatch.context() as patch:
        if where in places:
            module, name = places[where]
            patch.setattr(module, name, killing(getattr(module, name)))
        else:
            trial = replace(trial, restart=killing(trial.restart))
        with pytest.raises(KilledError):
            trial.begin()
    # The same boot: whoever is started next finishes it, and nobody thinks it was tried.
    state, slot = load_update(bench.paths), slots.status(bench.paths)
    waiting = reboot.is_waiting_for_restart(state, slot)
    assert waiting == (where == "restart" or (where == "try_next" and not before))
    assert waiting or slot.primary == "A"
    restarts: list[str] = []
    done = make_trial(bench, restarts).begin()
    assert (done.stage, restarts) == (Stage.TRIAL, ["restart"])
    assert settings_are_kept(bench.paths)
    assert bootscript.boot(bench.paths.root / "card").slot == "B"


def test_what_cannot_be_measured_is_not_tried(bench: Bench) -> None:
    def measure(paths: Paths) -> Baseline:
        raise CommandError("systemd does not answer")

    with pytest.raises(CommandError):
        replace(make_trial(bench), measure=measure).begin()
    state = load_update(bench.paths)
    assert (state.stage, state.error) == (Stage.INSTALLED, "systemd does not answer")
    assert not kept.directory(bench.paths).exists()
    assert slots.status(bench.paths).primary == "A"


def test_a_restart_that_is_refused_is_asked_for_again(bench: Bench) -> None:
    def restart() -> None:
        raise CommandError("busy")

    with pytest.raises(CommandError):
        replace(make_trial(bench), restart=restart).begin()
    assert load_update(bench.paths).stage is Stage.TRIAL
    assert settings_are_kept(bench.paths)
    restarts: list[str] = []
    make_trial(bench, restarts).begin()
    assert restarts == ["restart"]


def test_in_the_new_slot_nothing_of_it_is_undone(bench: Bench) -> None:
    make_trial(bench).begin()
    bootscript.boot(bench.paths.root / "card")
    (bench.paths.root / "proc/cmdline").write_text("rauc.slot=B\n")
    before = load_update(bench.paths)
    with pytest.raises(StateError, match="on trial"):
        make_trial(bench).begin()
    with pytest.raises(StateError, match="is being tried"):
        reboot.cancel(bench.paths, RecordedUnits())
    assert load_update(bench.paths) == before
    assert settings_are_kept(bench.paths)


@pytest.mark.parametrize("stage", [Stage.IDLE, Stage.INSTALLING])
def test_nothing_installed_nothing_to_try(stage: Stage, bench: Bench) -> None:
    save_update(bench.paths, UpdateState(stage=stage))
    with pytest.raises(StateError, match="no new version"):
        make_trial(bench).begin()


def test_settings_that_cannot_be_read_stop_it(bench: Bench) -> None:
    """A copy of them would be no way back."""
    bench.paths.settings.write_text("owner = 7")
    with pytest.raises(HearthError, match="nothing to go back to"):
        make_trial(bench).begin()
    assert load_update(bench.paths).stage is Stage.INSTALLED


def test_cancelled_before_the_restart(bench: Bench) -> None:
    make_trial(bench).begin()
    assert reboot.cancel(bench.paths, RecordedUnits()) == UpdateState()
    found = slots.status(bench.paths)
    assert (found.primary, found.trial, found.left["B"]) == ("A", "", 0)
    assert not kept.directory(bench.paths).exists()
    assert bootscript.boot(bench.paths.root / "card").slot == "A"


def test_cancelled_while_it_waits_for_the_window(bench: Bench) -> None:
    reboot.cancel(bench.paths, RecordedUnits())
    assert load_update(bench.paths).stage is Stage.IDLE
    with pytest.raises(StateError, match="no update to cancel"):
        reboot.cancel(bench.paths, RecordedUnits())


def test_cancelled_while_it_is_installed(bench: Bench) -> None:
    save_update(bench.paths, UpdateState(stage=Stage.INSTALLING, source=URL))
    units = RecordedUnits()
    reboot.cancel(bench.paths, units)
    assert units.acts == ["stop rauc.service"]
    assert load_update(bench.paths) == UpdateState()
