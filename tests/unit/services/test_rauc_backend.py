"""The back end as RAUC calls it (bootchooser.c of 1.13): arguments, output, exit code.

Where there is a real RAUC, it calls the program itself in update/test_rauc.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.slotstate import ATTEMPTS_TRY, INITIAL, newest, read_copies
from services import slots
from unit.hearthctl import hearthctl
from unit.services.test_slot_cuts import make_card


def call(root: Path, *arguments: str) -> tuple[int, str]:
    result = hearthctl(root, "slot-backend", *arguments)
    assert result.returncode == 0 or result.stderr.startswith("error: ")
    return result.returncode, result.stdout


def test_a_program_of_its_own(tmp_path: Path) -> None:
    make_card(tmp_path, "A", INITIAL)
    argv = [sys.executable, "-m", "firstboot", "--root", str(tmp_path), "slot-backend"]
    good, bad = (
        subprocess.run([*argv, *words], capture_output=True, text=True, check=False)
        for words in (["get-primary"], ["set-primary", "C"])
    )
    assert (good.returncode, good.stdout, good.stderr) == (0, "A\n", "")
    assert (bad.returncode, bad.stdout) == (11, "")
    assert bad.stderr.startswith("error: ")


def test_a_whole_installation_and_its_trial(tmp_path: Path) -> None:
    paths = make_card(tmp_path, "A", INITIAL)
    assert call(tmp_path, "get-current") == (0, "A\n")
    assert call(tmp_path, "get-primary") == (0, "A\n")
    assert call(tmp_path, "get-state", "A") == (0, "good\n")
    assert call(tmp_path, "get-state", "B") == (0, "bad\n")
    assert call(tmp_path, "set-state", "B", "bad") == (0, "")
    assert call(tmp_path, "set-primary", "B") == (0, "")
    assert call(tmp_path, "get-primary") == (0, "B\n")
    assert slots.status(paths).left["B"] == ATTEMPTS_TRY
    assert call(tmp_path, "set-primary", "A") == (0, "")
    assert call(tmp_path, "get-primary") == (0, "A\n")
    assert slots.status(paths).trial == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("set-state", "B", "good"), 11),  # only the verdict commits
        (("set-state", "A", "bad"), 11),  # the only good one
        (("set-state", "B", "perhaps"), 2),
        (("set-primary", "C"), 11),
        (("get-state", ""), 11),
        (("set-primary",), 2),
        (("get-primary", "A"), 2),
        (("mark-good", "A"), 2),
    ],
)
def test_what_is_refused_changes_nothing(
    arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    make_card(tmp_path, "A", INITIAL)
    assert call(tmp_path, *arguments) == (code, "")
    assert newest(read_copies(tmp_path / "card")) == INITIAL


def test_a_slot_on_trial_is_not_marked_good(tmp_path: Path) -> None:
    paths = make_card(tmp_path, "A", INITIAL)
    slots.try_next(paths, "B")
    (tmp_path / "proc/cmdline").write_text("rauc.slot=B\n")
    assert call(tmp_path, "set-state", "B", "good") == (11, "")
    assert call(tmp_path, "set-primary", "B")[0] == 11
    assert not slots.status(paths).committed
