"""The slot state: which slot to boot and how many attempts it has left.

Two raw copies on the card (layout.STATE_OFFSETS), each 4 KiB in the form that U-Boot's
``env import -c`` and ``env export -c`` use: CRC-32 of the rest (little endian), then
NUL-separated ``name=value``, then zeros. The newer valid copy counts; the older one is written.
Names follow RAUC's U-Boot contract (BOOT_ORDER, BOOT_x_LEFT; RAUC manual, "Integration");
BOOT_COMMITTED is ours: the slot that proved itself last, which rescue mode starts.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.errors import ImageError
from appliance.layout import STATE_OFFSETS, STATE_SIZE

ATTEMPTS_TRY = 3  # a slot that has not proved itself yet
ATTEMPTS_PRIMARY = 7  # a committed slot: several power cuts in a row must not use it up


@dataclass(frozen=True, kw_only=True)
class SlotState:
    """``order``: boot names, first one first; ``left``: attempts by boot name.

    ``committed`` is the slot that was committed last; empty ("none" on the card) where boot.scr
    found no valid copy and started from its defaults, until a slot has proved itself again.
    """

    seq: int
    order: tuple[str, ...]
    left: dict[str, int]
    committed: str = ""


NAMES = ("A", "B")
NOBODY = "none"  # U-Boot would leave out what is empty
INITIAL = SlotState(seq=1, order=("A",), left={"A": ATTEMPTS_PRIMARY, "B": 0}, committed="A")


def render_state(state: SlotState) -> bytes:
    """The 4 KiB copy as it lies on the card."""
    lines = [
        "BOOT_VERSION=1",
        f"BOOT_SEQ={state.seq:x}",
        f"BOOT_ORDER={' '.join(state.order)}",
        *(f"BOOT_{name}_LEFT={state.left.get(name, 0):x}" for name in NAMES),
        f"BOOT_COMMITTED={state.committed or NOBODY}",
    ]
    text = b"".join(line.encode() + b"\0" for line in lines)
    body = text.ljust(STATE_SIZE - 4, b"\0")
    return struct.pack("<I", zlib.crc32(body)) + body


def parse_state(raw: bytes) -> SlotState | None:
    """A copy's content, or None when its CRC or its form is wrong."""
    if len(raw) != STATE_SIZE or struct.unpack("<I", raw[:4])[0] != zlib.crc32(raw[4:]):
        return None
    entries = [line.partition("=") for line in raw[4:].decode("ascii", "replace").split("\0")]
    values = {name: value for name, mark, value in entries if mark}
    try:
        committed = values["BOOT_COMMITTED"]
        state = SlotState(
            seq=int(values["BOOT_SEQ"], 16),
            order=tuple(dict.fromkeys(values["BOOT_ORDER"].split())),
            left={name: int(values[f"BOOT_{name}_LEFT"], 16) for name in NAMES},
            committed="" if committed == NOBODY else committed,
        )
    except (KeyError, ValueError):
        return None
    known = state.order and {*state.order, state.committed} <= {*NAMES, ""}
    return state if known else None


def read_copies(disk: Path) -> tuple[SlotState | None, ...]:
    """Both copies from the whole-disk device or image, in the order of their place."""
    with disk.open("rb") as file:
        return tuple(parse_state(os.pread(file.fileno(), STATE_SIZE, at)) for at in STATE_OFFSETS)


def newest(copies: tuple[SlotState | None, ...]) -> SlotState | None:
    valid = [copy for copy in copies if copy is not None]
    return max(valid, key=lambda copy: copy.seq, default=None)


def write_next(disk: Path, state: SlotState) -> SlotState:
    """Write ``state`` with the next sequence number over the older copy; return what was written.

    A power cut leaves the newer copy untouched. Raises ImageError when the copy does not read back.
    """
    copies = read_copies(disk)
    current = newest(copies)
    written = replace(state, seq=(current.seq if current else 0) + 1)
    index = next((i for i, copy in enumerate(copies) if copy is None or copy is not current), 1)
    with disk.open("r+b") as file:
        os.pwrite(file.fileno(), render_state(written), STATE_OFFSETS[index])
        os.fsync(file.fileno())
        # From the card and not from what the kernel remembers of it.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        back = os.pread(file.fileno(), STATE_SIZE, STATE_OFFSETS[index])
    if parse_state(back) != written:
        message = f"slot state copy {index} on {disk} does not read back"
        raise ImageError(message, hint="the card may be worn out: replace it")
    return written
