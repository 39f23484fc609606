"""The slot engine over the two raw copies of the slot state: status, mark-good, commit.

What is committed needs no field of its own. While slot B is on trial the order is "B A", B has at
most ATTEMPTS_TRY and A still its full attempts; committing B gives B the full attempts and leaves A
as a fallback with ATTEMPTS_TRY. So a slot is committed when it is first and no other has more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from appliance.bootreport import load_boot_report
from appliance.errors import ImageError, StateError
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


@dataclass(frozen=True, kw_only=True)
class SlotStatus:
    """``booted`` and ``primary`` are boot names; ``left`` the attempts by boot name."""

    booted: str
    primary: str
    committed: bool
    left: dict[str, int]
    valid_copies: int


def booted_slot(paths: Paths) -> str:
    """The boot name that slot.scr put on the kernel command line. Raises StateError without one."""
    words = (paths.root / "proc" / "cmdline").read_text().split()
    for word in words:
        if word.startswith(ARGUMENT):
            return word.removeprefix(ARGUMENT)
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


def status(paths: Paths) -> SlotStatus:
    """Raises ImageError when neither copy of the slot state is valid."""
    copies = read_copies(booted_disk(paths))
    state = _newest(copies)
    booted = booted_slot(paths)
    return SlotStatus(
        booted=booted,
        primary=state.order[0] if state.order else "",
        committed=is_committed(state, booted),
        left=dict(state.left),
        valid_copies=sum(copy is not None for copy in copies),
    )


def is_committed(state: SlotState, slot: str) -> bool:
    others = (state.left.get(name, 0) for name in state.order if name != slot)
    return state.order[:1] == (slot,) and all(left <= ATTEMPTS_TRY for left in others)


def mark_good(paths: Paths) -> bool:
    """Give a committed booted slot its attempts back; whether that needed a write.

    A slot on trial is left alone: only the health verdict may commit it.
    """
    disk, booted = booted_disk(paths), booted_slot(paths)
    state = _newest(read_copies(disk))
    if not is_committed(state, booted) or state.left.get(booted, 0) >= ATTEMPTS_PRIMARY:
        return False
    write_next(disk, replace(state, left={**state.left, booted: ATTEMPTS_PRIMARY}))
    return True


def commit(paths: Paths) -> SlotState:
    """Make the booted slot the primary one; the others stay behind it as fallback."""
    disk, booted = booted_disk(paths), booted_slot(paths)
    state = _newest(read_copies(disk))
    others = tuple(name for name in state.order if name != booted)
    left = {name: min(count, ATTEMPTS_TRY) for name, count in state.left.items()}
    wanted = replace(state, order=(booted, *others), left={**left, booted: ATTEMPTS_PRIMARY})
    return state if wanted == state else write_next(disk, wanted)


def _newest(copies: tuple[SlotState | None, ...]) -> SlotState:
    state = newest(copies)
    if state is None:
        message = "neither copy of the slot state on the card is valid"
        raise ImageError(message, hint="flash the card again if it does not start any more")
    return state
