"""Start a card again after a power cut, as its boot chain would, and judge what is left on it.

The data partition is checked in a file of its own: e2fsck addresses one inside an image
(``?offset=``), but forgets the offset when it opens the file system again after its journal.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.bootreport import DataCondition, parse_boot_report
from appliance.errors import CommandError
from appliance.layout import BOOTFS, DATA, MIB, SLOT_A, SLOT_B, Partition
from appliance.run import run
from appliance.slotstate import newest, read_copies
from firstboot import storage
from imagebuild.vm import tool
from services.disk import Disk
from services.mbr import data_size, has_data, read_table
from services.superblock import read_label
from unit.services.card import first_sector

INIT = Path(__file__).parents[2] / "image/boot/init"
BLOCK = 4096
UUID_AT = 1024 + 0x68  # s_uuid: Linux kernel documentation, filesystems/ext4, "Super Block"
# One on a line of its own, the other up to the brace in the first column.
FUNCTIONS = re.compile(r"^label_of\(\) \{.*\}$|^repair_data\(\) \{(?s:.*?)^\}$", re.MULTILINE)
JOURNAL_MAGIC = 0xC03B3998
DESCRIPTOR, COMMIT = 1, 2
COMMIT_TIME_AT = 0x30
Files = dict[str, str]


class UnsoundError(Exception):
    """The card would not start, or has lost what it must keep."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """``kept``: the data file system was there before and stays; ``files``: digest by path."""

    kept: bool
    files: Files


@dataclass(frozen=True, kw_only=True)
class Init:
    """Functions of init in a shell, with the e2fsck of the slot's own Debian release."""

    tools: Path
    work: Path

    def label(self, device: Path) -> str:
        return self._run('label_of "$1"', device)

    def repair(self, data: Path) -> None:
        """Raises UnsoundError where init would start without the data."""
        call = 'data=ok; data_device=$1; repair_data; echo "$data"'
        if (answer := self._run(call, data).strip()) != DataCondition.OK:
            log = (self.work / "fsck").read_text()
            raise UnsoundError(f"init takes the data for {answer}: {log}")

    def _run(self, call: str, device: Path) -> str:
        text = INIT.read_text().replace("/run/hearth", str(self.work))
        functions = [found[0] for found in FUNCTIONS.finditer(text)]
        # It looks at no watchdog here.
        script = "\n".join(['in_slot() { "$@"; }', "alive() { :; }", *functions, call])
        path = f"{self._programs()}:{os.environ['PATH']}"
        return run(["sh", "-c", script, "sh", device], env={"PATH": path}).stdout

    def _programs(self) -> Path:
        directory = self.work / "bin"
        program = directory / "e2fsck"
        if not program.exists():
            directory.mkdir()
            program.write_text(f'#!/bin/sh\nexec {shlex.join(tool(self.tools, "e2fsck"))} "$@"\n')
            program.chmod(0o755)
        return directory


def check_clean(tools: Path, data: Path) -> None:
    """Raises UnsoundError."""
    try:
        run([*tool(tools, "e2fsck"), "-fn", data])
    except CommandError as error:
        raise UnsoundError(f"the data file system is not clean: {error.message}") from error


@dataclass(frozen=True, kw_only=True)
class Judge:
    """``tables``: the first sectors that a card may have; ``firmware``: bootfs as flashed.

    ``sound_bootfs``: digests of bootfs that need no second look.
    """

    tools: Path
    work: Path
    tables: tuple[bytes, ...]
    firmware: Files
    sound_bootfs: set[bytes]

    @property
    def _init(self) -> Init:
        return Init(tools=self.tools, work=self.work)

    def judge(self, card: Path) -> Verdict:
        """Go on from this card as its next boot would. Raises UnsoundError."""
        check_slot(card)
        if first_sector(card) not in self.tables:
            raise UnsoundError("the partition table is neither the old nor the new one")
        self._check_firmware(card)
        before = identity(card)
        kept = self._mount_data(card)
        check_layout(card)
        if kept and identity(card) != before:
            raise UnsoundError("the data file system was made anew, and it was in use")
        with self._data_of(card) as data:
            check_clean(self.tools, data)
            return Verdict(kept=kept, files=self._read_ext4(data))

    def _mount_data(self, card: Path) -> bool:
        """As init's function of that name, in its order; whether the data were there before."""
        kept = self._is_named(card)
        if kept:
            self._repair(card)
        if not self._is_named(card):
            self._prepare(card)
            self._repair(card)
        return kept

    def _is_named(self, card: Path) -> bool:
        """Whether init's label_of finds the label of data in use; there must be a partition 4."""
        with Disk(card) as disk:
            if not has_data(read_table(disk)):
                return False
            superblock = disk.read(DATA.start, BLOCK)
        device = self.work / "superblock"
        device.write_bytes(superblock)
        return self._init.label(device) == DATA.label

    def _repair(self, card: Path) -> None:
        with self._data_of(card) as data:
            self._init.repair(data)
            with data.open("rb") as source, card.open("r+b") as target:
                for first, stop in data_ranges(source.fileno(), 0, data.stat().st_size):
                    block = os.pread(source.fileno(), stop - first, first)
                    os.pwrite(target.fileno(), block, DATA.start + first)

    def _prepare(self, card: Path) -> None:
        report = self.work / "report"
        storage.main(["prepare", "--disk", str(card), "--report", str(report)])
        found = parse_boot_report(report.read_text())
        if found.data is not DataCondition.OK:
            raise UnsoundError(f"preparing the card ended in {found.data}: {found.data_detail}")

    @contextmanager
    def _data_of(self, card: Path) -> Iterator[Path]:
        data = self.work / "data.img"
        copy_region(card, data, start=DATA.start, end=card.stat().st_size)
        yield data
        data.unlink()

    def _read_ext4(self, data: Path) -> Files:
        with tempfile.TemporaryDirectory(dir=self.work) as directory:
            run([*tool(self.tools, "debugfs"), "-R", f"rdump / {directory}", data])
            return digests(Path(directory))

    def _check_firmware(self, card: Path) -> None:
        if (digest := digest_region(card, BOOTFS)) in self.sound_bootfs:
            return
        found = read_bootfs(self.tools, card, self.work)
        if lost := [path for path, digest in self.firmware.items() if found.get(path) != digest]:
            raise UnsoundError(f"files on bootfs are lost or changed: {lost}")
        self.sound_bootfs.add(digest)


def journal_place(tools: Path, data: Path) -> int:
    """Where in the data partition inode 8, the journal, begins; it is one piece."""
    return BLOCK * int(run([*tool(tools, "debugfs"), "-R", "bmap <8> 0", data]).stdout)


def age_journal_block(block: bytes) -> bytes:
    """A journal block as another, later file system would have left it in the same place.

    Its checksums have another seed; its commits bear a later time than any of ours. Layout: Linux
    kernel documentation, filesystems/ext4, "Journal (jbd2)".
    """
    magic, kind = struct.unpack_from(">II", block)
    if magic != JOURNAL_MAGIC or kind not in (DESCRIPTOR, COMMIT):
        return block
    aged = bytearray(block)
    if kind == DESCRIPTOR:
        aged[-4] ^= 0xFF
    else:
        (seconds,) = struct.unpack_from(">Q", block, COMMIT_TIME_AT)
        struct.pack_into(">Q", aged, COMMIT_TIME_AT, seconds + 10 * 365 * 86400)
    return bytes(aged)


def copy_region(source: Path, target: Path, *, start: int, end: int) -> None:
    """``start`` to ``end`` of a sparse file as a new one."""
    with source.open("rb") as reader, target.open("wb") as writer:
        writer.truncate(end - start)
        for first, stop in data_ranges(reader.fileno(), start, end):
            for done in range(first, stop, MIB):
                data = os.pread(reader.fileno(), min(MIB, stop - done), done)
                os.pwrite(writer.fileno(), data, done - start)


def data_ranges(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """What is no hole (lseek(2), SEEK_DATA)."""
    while start < end:
        try:
            start = os.lseek(descriptor, start, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        stop = min(os.lseek(descriptor, start, os.SEEK_HOLE), end)
        if start < stop:
            yield start, stop
        start = stop


def digest_region(card: Path, partition: Partition) -> bytes:
    """Of what is there and where it is."""
    digest = hashlib.blake2b()
    with card.open("rb") as file:
        end = partition.start + (partition.size or 0)
        for first, stop in data_ranges(file.fileno(), partition.start, end):
            digest.update(first.to_bytes(8, "little"))
            digest.update(os.pread(file.fileno(), stop - first, first))
    return digest.digest()


def read_bootfs(tools: Path, card: Path, work: Path) -> Files:
    with tempfile.TemporaryDirectory(dir=work) as directory:
        image = f"{card}@@{BOOTFS.start}"
        # A file that was being written may be unreadable; what matters is then found missing.
        run(
            [*tool(tools, "mtools"), "-c", "mcopy", "-s", "-n", "-i", image, "::*", directory],
            env={"MTOOLS_SKIP_CHECK": "1"}, check=False,
        )  # fmt: skip
        return digests(Path(directory))


def digests(root: Path) -> Files:
    """SHA-256 of every file by its path under ``root``."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def check_slot(card: Path) -> None:
    """boot.cmd's decision: the first slot of the order that has attempts left must be A."""
    state = newest(read_copies(card))
    if state is None:
        raise UnsoundError("neither copy of the slot state is valid")
    bootable = [name for name in state.order if state.left.get(name, 0) > 0]
    if bootable[:1] != ["A"]:
        raise UnsoundError(f"the slot state does not lead to slot A: {state}")


def check_layout(card: Path) -> None:
    """Four partitions in their final places, and the label that says the data are in use."""
    with Disk(card) as disk:
        table = read_table(disk)
        label = read_label(disk, DATA.start)
        expected = {
            SLOT_A.number: (SLOT_A.start, SLOT_A.size),
            SLOT_B.number: (SLOT_B.start, SLOT_B.size),
            DATA.number: (DATA.start, data_size(disk)),
        }
    found = {number: (table[number].start, table[number].size) for number in expected}
    if found != expected or label != DATA.label:
        raise UnsoundError(f"the layout is {found} with label {label!r}, not {expected}")


def identity(card: Path) -> bytes:
    """The UUID of the data file system, whatever state it is in."""
    with Disk(card) as disk:
        return disk.read(DATA.start + UUID_AT, 16)
