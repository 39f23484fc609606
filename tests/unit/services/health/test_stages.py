"""How far each start came, from marks that power cuts have torn."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.paths import Paths
from services.health.stages import (
    Stage,
    load_marks,
    marks_file,
    note_stage,
    parse_marks,
    tell_starts,
    trial_starts,
)

A0 = "slot=A boot=a0 stage=initramfs\nslot=A boot=a0 stage=systemd\n"
A1 = "slot=A boot=a1 stage=initramfs\nslot=A boot=a1 stage=systemd\n"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.system.mkdir(parents=True)
    random = tmp_path / "proc/sys/kernel/random"
    random.mkdir(parents=True)
    (random / "boot_id").write_text("6b8b4567-0000-4000-8000-000000000001\n")
    (tmp_path / "proc/cmdline").write_text("quiet rauc.slot=B ro\n")
    return made


def stages_of(text: str, slot: str = "B") -> list[tuple[str, str]]:
    starts = trial_starts(parse_marks(text), slot)
    return [(start.boot, start.stage.value) for start in starts]


def test_the_starts_since_the_trial_began() -> None:
    old = "slot=B boot=b9 stage=systemd\nslot=B boot=b9 stage=verdict\n"
    trial = "slot=A boot=a0 stage=trial\n"
    new = "slot=B boot=b1 stage=initramfs\nslot=B boot=b2 stage=initramfs\n"
    assert stages_of(old + A0 + trial + new + "slot=B boot=b2 stage=systemd\n" + A1) == [
        ("b1", "initramfs"),
        ("b2", "systemd"),
    ]
    assert stages_of(old + A0 + trial + A1) == [], "its kernel never got that far"


def test_without_the_mark_those_since_the_old_slots_last_start() -> None:
    old = "slot=B boot=b9 stage=verdict\n"
    new = "slot=B boot=b1 stage=initramfs\n"
    assert stages_of(old + A0 + new + A1) == [("b1", "initramfs")]
    assert stages_of(old + A0 + A1) == []
    assert stages_of(A0 + new) == [("b1", "initramfs")], "asked while it runs"
    assert stages_of("") == []


def test_torn_and_unknown_lines_are_passed_over() -> None:
    text = "slot=B boot=b1 sta\nslot=C boot=x stage=systemd\nslot=B boot=b1 stage=dancing\n\0\0\n"
    assert parse_marks(text + "slot=B boot=b1 stage=systemd\n") == parse_marks(
        "slot=B boot=b1 stage=systemd\n"
    )


def test_a_mark_is_appended_after_a_torn_one(paths: Paths) -> None:
    marks_file(paths).write_text("slot=A boot=a0 stage=trial\nslot=B boot=6b8b")
    note_stage(paths, Stage.VERDICT)
    note_stage(paths, Stage.VERDICT)
    assert [mark.stage for mark in load_marks(paths)] == [
        Stage.TRIAL,
        Stage.VERDICT,
        Stage.VERDICT,
    ]
    assert load_marks(paths)[-1].slot == "B"


def test_only_the_end_of_a_file_that_has_grown_is_read(paths: Paths) -> None:
    marks_file(paths).write_text("slot=A boot=a0 stage=systemd\n" * 100_000)
    note_stage(paths, Stage.SYSTEMD)
    marks = load_marks(paths)
    assert marks[-1].slot == "B"
    assert len(marks) < 3000


def test_a_mark_that_cannot_be_written_stops_nothing(paths: Paths) -> None:
    marks_file(paths).mkdir()
    note_stage(paths, Stage.SYSTEMD)
    assert load_marks(paths) == ()


def test_what_a_person_is_told() -> None:
    text = "slot=B boot=b1 stage=initramfs\nslot=B boot=b2 stage=systemd\n"
    assert tell_starts(trial_starts(parse_marks(text), "B")) == (
        "start 1 came to the start-up program, but not systemd",
        "start 2 came to systemd, but no verdict",
    )
