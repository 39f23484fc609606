"""A card as an image file: the table that the builder writes, and what the tools say of it."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.layout import BOOTFS, DATA, GIB, MIB, SECTOR, SLOT_A
from appliance.run import run
from services.mbr import ENTRY, NO_CHS, SIGNATURE, TABLE_OFFSET

SIZE = 15 * GIB
# As the e2fsprogs address a file system inside a file (e2fsck(8) takes the option of its I/O
# manager after a question mark).
OFFSET = f"?offset={DATA.start}"
MARKS = (SLOT_A.start, SLOT_A.start + 3 * GIB - MIB, 1 * MIB, 5 * MIB, 8 * MIB)


def make_card(path: Path, *, size: int = SIZE) -> Path:
    """As flashed: bootfs and slot A in the table, some content in each, the rest a hole."""
    sector = bytearray(SECTOR)
    sector[-2:] = SIGNATURE
    for partition in (BOOTFS, SLOT_A):
        at = TABLE_OFFSET + (partition.number - 1) * ENTRY.size
        assert partition.size is not None
        place = (partition.start // SECTOR, partition.size // SECTOR)
        ENTRY.pack_into(sector, at, 0, NO_CHS, partition.mbr_type, NO_CHS, *place)
    with path.open("wb") as file:
        file.truncate(size)
        file.write(sector)
        for mark in MARKS:
            file.seek(mark)
            file.write(f"precious {mark}".encode())
    return path


def first_sector(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SECTOR)


def marks_are_whole(path: Path) -> bool:
    """Whether nothing outside the data partition was touched."""
    with path.open("rb") as file:
        for mark in MARKS:
            file.seek(mark)
            expected = f"precious {mark}".encode()
            if file.read(len(expected)) != expected:
                return False
    return True


def fsck(path: Path) -> str:
    """Raises CommandError unless the data file system is clean."""
    return run(["e2fsck", "-fn", f"{path}{OFFSET}"]).stdout


def files(path: Path, directory: str) -> str:
    """debugfs's listing of a directory in the data file system."""
    return run(["debugfs", "-R", f"ls -l {directory}", f"{path}{OFFSET}"]).stdout


def read_file(path: Path, name: str) -> str:
    return run(["debugfs", "-R", f"cat {name}", f"{path}{OFFSET}"]).stdout


def copy_card(source: Path, target: Path) -> Path:
    run(["cp", "--sparse=always", source, target])
    return target


def used_blocks(path: Path, block: int = 4096) -> dict[int, bytes]:
    """The blocks that are not holes, by number."""
    found: dict[int, bytes] = {}
    with path.open("rb") as file:
        at, end = 0, path.stat().st_size
        while at < end:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            for number in range(start // block, -(-at // block)):
                found[number] = os.pread(file.fileno(), block, number * block)
    return found
