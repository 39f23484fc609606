"""The slot engine over the two raw copies of the slot state: try_next, commit, status.

While slot B is on trial the order is "B A": B has at most ATTEMPTS_TRY, A is the committed one and
has its full attempts. A slot that failed its trial stays first, with no attempts, until the old one
has settled the matter: so a trial that failed is told from one that never began.

Every change is one write of one copy; a power cut leaves the state before it or the one after.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.bootreport import load_boot_report
from appliance.errors import ImageError, StateError
from appliance.layout import SLOTS
from appliance.paths import Paths
from appliance.slotstate import (
    ATTEMPTS_PRIMARY,
    ATTEMPTS_TRY,
    SlotState,
    newest,
    read_copies,
    write_next,
)

ARGUMENT = "rauc.slot="
REFLASH = "flash the card again if it does not start any more"


@dataclass(frozen=True, kw_only=True)
class SlotStatus:
    """By boot names. ``primary`` would be started next; ``committed``: the booted slot is.

    ``trial`` is a slot that was chosen for a trial over which nobody has decided yet, whether it
    has attempts ``left`` or none.
    """

    booted: str
    primary: str
    committed: bool
    left: dict[str, int]
    valid_copies: int
    committed_slot: str = ""
    trial: str = ""


def booted_slot(paths: Paths) -> str:
    """The boot name that slot.scr put on the kernel command line. Raises StateError without one."""
    words = (paths.root / "proc" / "cmdline").read_text().split()
    for word in words:
        if word.startswith(ARGUMENT):
            return check_name(word.removeprefix(ARGUMENT))
    raise StateError(
        f"the kernel command line has no {ARGUMENT}", hint="was this booted by slot.scr?"
    )


def booted_disk(paths: Paths) -> Path:
    """The disk that was booted from; never one that only looks like it. Raises StateError."""
    disk = load_boot_report(paths.boot_report).disk
    if disk is None:
        message = f"{paths.boot_report} does not name the disk that was booted from"
        raise StateError(message, hint="this works only on an appliance that has booted normally")
    return disk


def check_name(slot: str) -> str:
    """Raises StateError for anything but a boot name."""
    if slot not in SLOTS:
        raise StateError(f"{slot!r} is no slot", hint=f"the slots are {' and '.join(SLOTS)}")
    return slot


def other_slot(slot: str) -> str:
    [other] = [name for name in SLOTS if name != slot]
    return other


def status(paths: Paths) -> SlotStatus:
    """Raises ImageError when neither copy of the slot state is valid."""
    copies = read_copies(booted_disk(paths))
    state = _newest(copies)
    booted = booted_slot(paths)
    return SlotStatus(
        booted=booted,
        primary=primary(state),
        committed=state.committed == booted,
        left=dict(state.left),
        valid_copies=sum(copy is not None for copy in copies),
        committed_slot=state.committed,
        trial=trial(state),
    )


def primary(state: SlotState) -> str:
    """boot.scr's choice: the first of the order that has attempts, else the committed slot."""
    able = (name for name in state.order if state.left.get(name, 0) > 0)
    return next(able, state.committed or next(iter(SLOTS)))


def trial(state: SlotState) -> str:
    first = state.order[0]
    return first if state.committed and first != state.committed else ""


def try_next(paths: Paths, slot: str) -> SlotState:
    """Have ``slot`` started next, ATTEMPTS_TRY times; then the booted one again.

    Raises StateError unless the booted slot is committed: it is what the way back leads to.
    """
    with _changing(paths) as (disk, state, booted):
        if state.committed != booted:
            message = f"slot {booted}, which runs, has not proved itself yet"
            raise StateError(message, hint="wait for the verdict: hearthctl update status")
        if check_name(slot) == booted:
            raise StateError(f"slot {slot} runs already", hint="try the other one")
        left = {booted: ATTEMPTS_PRIMARY, slot: ATTEMPTS_TRY}
        return _write(disk, state, replace(state, order=(slot, booted), left=left))


def commit(paths: Paths) -> SlotState:
    """Make the booted slot the one to start and to come back to; the other is its fallback.

    Also how a trial of the other slot is ended: with no attempts that one had, it gets none.
    """
    with _changing(paths) as (disk, state, booted):
        other = other_slot(booted)
        left = {booted: ATTEMPTS_PRIMARY, other: min(state.left.get(other, 0), ATTEMPTS_TRY)}
        wanted = replace(state, order=(booted, other), left=left, committed=booted)
        return _write(disk, state, wanted)


def mark_bad(paths: Paths, slot: str) -> SlotState:
    """Take all attempts from a slot, and leave it in its place in the order.

    The booted one gets none back in this boot, however orderly it ends.
    Raises StateError for the committed slot: without it nothing good would be left.
    """
    with _changing(paths) as (disk, state, booted):
        if check_name(slot) == state.committed:
            message = f"slot {slot} is the one that has proved itself: it cannot be marked bad"
            raise StateError(message, hint="commit the other slot first")
        if slot == booted:
            _condemned(paths).touch()
        return _write(disk, state, replace(state, left={**state.left, slot: 0}))


def mark_good(paths: Paths) -> bool:
    """Give a committed booted slot its attempts back; whether that needed a write.

    A slot on trial is left alone: only the health verdict may commit it.
    """
    with _changing(paths) as (disk, state, booted):
        if state.committed != booted or state.left.get(booted, 0) >= ATTEMPTS_PRIMARY:
            return False
        _write(disk, state, replace(state, left={**state.left, booted: ATTEMPTS_PRIMARY}))
        return True


def give_one(paths: Paths) -> bool:
    """One attempt for the committed, booted slot where it has none; whether it did."""
    with _changing(paths) as (disk, state, booted):
        if state.committed != booted or state.left.get(booted, 0):
            return False
        _write(disk, state, replace(state, left={**state.left, booted: 1}))
        return True


def give_back(paths: Paths) -> bool:
    """An orderly restart during the trial costs no attempt; whether that needed a write."""
    with _changing(paths) as (disk, state, booted):
        left = state.left.get(booted, 0)
        is_trial = trial(state) == booted and not _condemned(paths).exists()
        if not is_trial or left >= ATTEMPTS_TRY:
            return False
        _write(disk, state, replace(state, left={**state.left, booted: left + 1}))
        return True


def recall(paths: Paths, slot: str) -> bool:
    """Name the committed slot where boot.scr had to start from its defaults; whether it did.

    Only the data partition still knows then which slot had proved itself last. It is started next,
    and the other one stays behind it.
    """
    with _changing(paths) as (disk, state, _):
        if state.committed:
            return False
        other = other_slot(check_name(slot))
        left = {slot: ATTEMPTS_PRIMARY, other: min(state.left.get(other, 0), ATTEMPTS_TRY)}
        _write(disk, state, replace(state, order=(slot, other), left=left, committed=slot))
        return True


@contextmanager
def _changing(paths: Paths) -> Iterator[tuple[Path, SlotState, str]]:
    """The disk, its state and the booted slot, while nobody else changes them.

    The lock is on the boot report, which is there whenever there is something to change, and which
    can be opened for reading in the narrowest cage.
    """
    disk, booted = booted_disk(paths), booted_slot(paths)
    with paths.boot_report.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield disk, _newest(read_copies(disk)), booted


def _condemned(paths: Paths) -> Path:
    """On the tmpfs: a bad slot and one at its last attempt look the same in the slot state."""
    return paths.runtime / "marked-bad"


def _write(disk: Path, before: SlotState, wanted: SlotState) -> SlotState:
    return before if wanted == before else write_next(disk, wanted)


def _newest(copies: tuple[SlotState | None, ...]) -> SlotState:
    state = newest(copies)
    if state is None:
        message = "neither copy of the slot state on the card is valid"
        raise ImageError(message, hint=REFLASH)
    return state
