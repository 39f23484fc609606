"""Recorded writes of a card, and the cards that a power cut could have left behind.

Reads the log of QEMU's ``blklogwrites`` filter, which is that of Linux' dm-log-writes: little
endian, one superblock sector, then per entry a sector that describes it and the sectors it wrote
(Documentation/admin-guide/device-mapper/log-writes.rst; structures in drivers/md/dm-log-writes.c).
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from types import TracebackType

from appliance.layout import MIB, SECTOR

SUPERBLOCK = struct.Struct("<QQQI")  # magic, version, number of entries, sector size
ENTRY = struct.Struct("<QQQQ")  # first sector, number of sectors, flags, length of a mark's text
MAGIC = 0x6A736677736872
VERSION = 1


class LogError(Exception):
    """The file is no log, or ends too early."""


class Flag(IntFlag):
    FLUSH = 1
    FUA = 2
    DISCARD = 4
    MARK = 8
    METADATA = 16


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One request: ``size`` bytes at ``at`` on the card, which the log has at ``data_at``."""

    at: int
    size: int
    flags: Flag
    data_at: int

    @property
    def is_write(self) -> bool:
        return bool(self.size) and Flag.DISCARD not in self.flags

    @property
    def is_flush(self) -> bool:
        """Whether what was completed before it is on the card for good."""
        return Flag.FLUSH in self.flags


def parse_log(path: Path) -> tuple[Entry, ...]:
    """All entries up to the last flush, which is when QEMU last counted them."""
    with path.open("rb") as log:
        end = os.fstat(log.fileno()).st_size
        raw = log.read(SUPERBLOCK.size)
        if len(raw) < SUPERBLOCK.size:
            raise LogError(f"{path} is too short for a log")
        magic, version, count, sector = SUPERBLOCK.unpack(raw)
        if magic != MAGIC or version != VERSION or sector % SECTOR or not sector:
            raise LogError(f"{path} does not begin with a log's superblock")
        return tuple(_entries(log.fileno(), count, sector, end))


def _entries(log: int, count: int, sector: int, end: int) -> Iterator[Entry]:
    at = sector
    for number in range(count):
        raw = os.pread(log, ENTRY.size, at)
        if len(raw) < ENTRY.size:
            raise LogError(f"the log ends before entry {number} of {count}")
        first, sectors, flags, _ = ENTRY.unpack(raw)
        if flags & ~sum(Flag):
            raise LogError(f"entry {number} has unknown flags {flags:#x}")
        entry = Entry(
            at=first * sector, size=sectors * sector, flags=Flag(flags), data_at=at + sector
        )
        at = entry.data_at + (entry.size if entry.is_write else 0)
        if at > end:
            raise LogError(f"the log ends within entry {number} of {count}")
        yield entry


class Replay:
    """Puts entries of a log onto a card. The card stays sparse: zeros do not fill holes."""

    def __init__(self, log: Path, card: Path) -> None:
        self._log = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        self._card = os.open(card, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> Replay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._log)
        os.close(self._card)

    def apply(self, entry: Entry, sectors: Sequence[int] | None = None) -> None:
        """All of ``entry``, or only some of its sectors."""
        if sectors is None:
            for done in range(0, entry.size, MIB):
                self._copy(entry, done, min(MIB, entry.size - done))
        else:
            for number in sectors:
                self._copy(entry, number * SECTOR, SECTOR)

    def _copy(self, entry: Entry, done: int, size: int) -> None:
        # What was discarded reads as zeros: QEMU's qcow2 does so, and many cards.
        data = os.pread(self._log, size, entry.data_at + done) if entry.is_write else bytes(size)
        self._write(data, entry.at + done)

    def _write(self, data: bytes, target: int) -> None:
        if data != bytes(len(data)) or self._holds_data(target, len(data)):
            os.pwrite(self._card, data, target)

    def _holds_data(self, at: int, size: int) -> bool:
        try:
            return os.lseek(self._card, at, os.SEEK_DATA) < at + size
        except OSError:  # ENXIO: only a hole up to the end
            return False


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The power goes after ``position`` entries.

    What was written since the last flush is lost in part, as ``seed`` decides; without one all of
    it has arrived.
    """

    position: int
    seed: str | None

    def __str__(self) -> str:
        return f"cut after {self.position} writes, " + (self.seed or "all of them there")


def last_flush(entries: Sequence[Entry], position: int) -> int:
    """How many of the first ``position`` entries are on the card for good."""
    return next((at + 1 for at in range(position - 1, -1, -1) if entries[at].is_flush), 0)


def losses(cut: Cut, pending: Sequence[Entry]) -> Iterator[tuple[Entry, list[int] | None]]:
    """What arrived of ``pending``: whole entries, or of a torn one the numbers of its sectors."""
    if cut.seed is None:
        yield from ((entry, None) for entry in pending)
        return
    dice = random.Random(cut.seed)
    share = dice.choice((0.05, 0.5, 0.95))
    for number, entry in enumerate(pending):
        is_last = number == len(pending) - 1
        if entry.is_write and (is_last or dice.random() < 0.1):
            yield entry, _torn(dice, entry.size // SECTOR)
        elif dice.random() < share:
            yield entry, None


def _torn(dice: random.Random, count: int) -> list[int]:
    """Some sectors of a write: up to some point, or here and there."""
    if dice.random() < 0.5:
        return list(range(dice.randint(0, count)))
    return [number for number in range(count) if dice.random() < 0.5]


def make_cuts(entries: Sequence[Entry], count: int, seed: str) -> list[Cut]:
    """One at every flush, the others within what lies between two flushes, by position."""
    ends = [number + 1 for number, entry in enumerate(entries) if entry.is_flush]
    spans = [span for span in zip([0, *ends], ends, strict=False) if span[1] - span[0] > 1]
    dice = random.Random(seed)
    cuts = [Cut(position=0, seed=None), *(Cut(position=end, seed=None) for end in ends)]
    for number in range(max(count - len(cuts), count // 2)):
        # A span by its place and not by its length: most hold one write, on which all hangs.
        first, end = spans[number % len(spans)]
        cuts.append(Cut(position=dice.randrange(first + 1, end), seed=f"{seed}-{number}"))
    return sorted(cuts, key=lambda cut: (cut.position, cut.seed is not None))
