"""The power goes at each write on the way into a trial; then the card starts as boot.scr would.

Real slots, real files, the start's own settling; only RAUC's answers are played.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.atomic import write_atomic
from appliance.paths import Paths
from appliance.settings import load_settings
from appliance.slotstate import ATTEMPTS_TRY
from appliance.update import Baseline, Result, Stage
from firstboot.settle import finish_commit, settle
from services import slots
from services.update import kept, reboot
from services.update.reboot import Trial
from services.update.state import load_history, load_update
from unit.services import bootscript
from unit.services.update.bench import SETTINGS, Bench, make_installed


class PowerCutError(BaseException):
    pass


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_installed(tmp_path, monkeypatch)


def begin(paths: Paths) -> None:
    Trial(paths=paths, restart=lambda: None, measure=lambda _: Baseline()).begin()


def start(paths: Paths) -> str:
    """The next start: boot.scr chooses, and a new tmpfs knows nothing."""
    booted = bootscript.boot(paths.root / "card")
    assert not booted.rescue
    (paths.root / "proc/cmdline").write_text(f"rauc.slot={booted.slot} quiet\n")
    (paths.runtime / "marked-bad").unlink(missing_ok=True)
    settle(paths, reboot=lambda: None, now=lambda: 100.0)
    return booted.slot


def cutting(real: Callable[..., object], left: list[int]) -> Callable[..., object]:
    """The power goes before the write that ``left`` counts down to."""

    def write(*arguments: object, **options: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise PowerCutError
        return real(*arguments, **options)

    return write


def count_writes(bench: Bench, monkeypatch: pytest.MonkeyPatch, allowed: int) -> bool:
    """Begin the trial with so many writes left; whether it came to its end."""
    left = [allowed]
    with monkeypatch.context() as patch:
        patch.setattr(kept, "write_atomic", cutting(write_atomic, left))
        patch.setattr(reboot, "save_update", cutting(reboot.save_update, left))
        patch.setattr(reboot.stages, "note_stage", cutting(reboot.stages.note_stage, left))
        patch.setattr(slots, "try_next", cutting(slots.try_next, left))
        try:
            begin(bench.paths)
        except PowerCutError:
            return False
    return True


@pytest.mark.parametrize("allowed", range(5))
def test_after_a_cut_it_either_waits_or_is_tried(
    allowed: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = bench.paths
    came_to_its_end = count_writes(bench, monkeypatch, allowed)
    assert came_to_its_end == (allowed >= 4)
    if not came_to_its_end:
        assert start(paths) == "A"
        assert load_update(paths).stage is Stage.INSTALLED
        assert load_history(paths) == ()
        assert slots.status(paths).committed
        begin(paths)  # the job, in the next window
    assert start(paths) == "B"
    assert load_update(paths).stage is Stage.TRIAL
    assert load_settings(kept.directory(paths) / "settings.toml") == SETTINGS
    slots.commit(paths)
    finish_commit(paths, load_update(paths), 200.0)
    assert start(paths) == "B"
    assert [one.result for one in load_history(paths)] == [Result.COMMITTED]
    assert load_update(paths).stage is Stage.IDLE


@pytest.mark.parametrize("cuts", range(1, ATTEMPTS_TRY + 1))
def test_a_new_version_that_never_comes_up_is_gone_after_its_attempts(
    cuts: int, bench: Bench
) -> None:
    """Some starts fail, the next one is well; or all fail, and the old version is back."""
    paths = bench.paths
    begin(paths)
    for _ in range(cuts):
        assert bootscript.boot(paths.root / "card").slot == "B"
    if cuts < ATTEMPTS_TRY:
        assert start(paths) == "B"
        assert load_update(paths).stage is Stage.TRIAL
        return
    assert start(paths) == "A"
    assert [one.result for one in load_history(paths)] == [Result.ROLLED_BACK]
    assert load_update(paths).stage is Stage.IDLE
    found = slots.status(paths)
    assert (found.committed, found.trial, found.left["B"]) == (True, "", 0)
    assert load_settings(paths.settings) == SETTINGS


def test_the_verdicts_word_leads_back(bench: Bench) -> None:
    paths = bench.paths
    begin(paths)
    assert start(paths) == "B"
    slots.mark_bad(paths, "B")
    assert not slots.give_back(paths)
    assert start(paths) == "A"
    assert [one.result for one in load_history(paths)] == [Result.ROLLED_BACK]


def test_both_copies_lost_in_the_trial_is_the_old_version_again(bench: Bench) -> None:
    paths = bench.paths
    begin(paths)
    assert start(paths) == "B"
    card = paths.root / "card"
    raw = bytearray(card.read_bytes())
    for offset in (1 << 20, 5 << 20):
        raw[offset : offset + 16] = bytes(16)
    card.write_bytes(raw)
    assert start(paths) == "A"
    assert slots.status(paths).committed
    assert slots.status(paths).primary == "A"
