"""How far each start came: marks in /data/system/boots, for starts that leave no journal.

One line a mark, ``slot=B boot=<boot id> stage=initramfs``: the initramfs and an early unit write
theirs at every start, the update a "trial" before it restarts into the new version, the verdict its
own. A line is written at once to the card; one that a power cut has torn is passed over.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from appliance.atomic import fsync_directory
from appliance.log import logger
from appliance.paths import Paths
from services import slots

LINE = re.compile(r"slot=([AB]) boot=([0-9a-f-]{1,40}) stage=([a-z]{1,20})")
READ_BYTES = 64 * 1024  # the initramfs keeps it far below


class Stage(StrEnum):
    """In the order of a start; TRIAL is the old version's word before the first one."""

    TRIAL = "trial"
    INITRAMFS = "initramfs"
    SYSTEMD = "systemd"
    VERDICT = "verdict"


REACHED = {
    Stage.TRIAL: "not even the start-up program",
    Stage.INITRAMFS: "the start-up program, but not systemd",
    Stage.SYSTEMD: "systemd, but no verdict",
    Stage.VERDICT: "a verdict",
}


@dataclass(frozen=True, kw_only=True)
class Mark:
    slot: str
    boot: str
    stage: Stage


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start and the furthest stage that it came to."""

    slot: str
    boot: str
    stage: Stage


def marks_file(paths: Paths) -> Path:
    return paths.system / "boots"


def boot_id(paths: Paths) -> str:
    """The kernel's name for this start (random(4)); empty where it does not tell."""
    try:
        return (paths.root / "proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def parse_marks(text: str) -> tuple[Mark, ...]:
    """Unknown stages, of a newer version for example, and torn lines are left out."""
    known = {member.value for member in Stage}
    found = (LINE.fullmatch(line.strip()) for line in text.splitlines())
    return tuple(
        Mark(slot=match[1], boot=match[2], stage=Stage(match[3]))
        for match in found
        if match and match[3] in known
    )


def load_marks(paths: Paths) -> tuple[Mark, ...]:
    try:
        with marks_file(paths).open("rb") as file:
            file.seek(max(0, marks_file(paths).stat().st_size - READ_BYTES))
            return parse_marks(file.read(READ_BYTES).decode(errors="replace"))
    except OSError:
        return ()


def note_stage(paths: Paths, stage: Stage) -> None:
    """Append a mark of this start. A mark that cannot be written stops nothing."""
    line = f"slot={slots.booted_slot(paths)} boot={boot_id(paths) or '0'} stage={stage.value}\n"
    try:
        # After a line that was torn, a new one begins.
        descriptor = os.open(marks_file(paths), os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, ("\n" * torn + line).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fsync_directory(paths.system)
    except OSError as error:
        logger.warning("how far this start came cannot be noted: %s", error)


def trial_starts(marks: tuple[Mark, ...], slot: str) -> tuple[Start, ...]:
    """The starts of ``slot`` in its last trial, the first one first.

    Those since the last mark "trial". Without one: those since the last start of the other slot
    that was not the one that asks.
    """
    begun = [index for index, mark in enumerate(marks) if mark.stage is Stage.TRIAL]
    marks = marks[begun[-1] + 1 :] if begun else _since_the_other(marks, slot)
    order = tuple(Stage)
    furthest: dict[str, Stage] = {}
    for mark in marks:
        if mark.slot == slot:
            known = furthest.get(mark.boot, mark.stage)
            furthest[mark.boot] = max(known, mark.stage, key=order.index)
    return tuple(Start(slot=slot, boot=boot, stage=stage) for boot, stage in furthest.items())


def _since_the_other(marks: tuple[Mark, ...], slot: str) -> tuple[Mark, ...]:
    """Cut what asks (the last start, when it is the other slot's), then go back to the other's."""
    if not marks:
        return ()
    last = marks[-1].boot
    before = [mark for mark in marks if mark.boot != last or mark.slot == slot]
    others = [index for index, mark in enumerate(before) if mark.slot != slot]
    return tuple(before[others[-1] + 1 :] if others else before)


def tell_starts(starts: tuple[Start, ...]) -> tuple[str, ...]:
    """A sentence each, for the record of a failure."""
    return tuple(
        f"start {number} came to {REACHED[start.stage]}" for number, start in enumerate(starts, 1)
    )
