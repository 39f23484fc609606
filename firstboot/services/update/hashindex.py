"""RAUC's tables of block hashes, made here for slots that RAUC has not written yet.

An adaptive update takes what it can from both slots, by a table of each: the SHA-256 of every
4 KiB block. RAUC keeps the table of what it installs; where it has none it reads and hashes all of
the partition, which for both is 6 GiB of a card. A flashed slot holds a file system of a tenth of
that, and beside it nothing. A table may be shorter than its partition, and RAUC hashes again what
it finds by one, so that a wrong one costs bytes of a download and no more (src/hash_index.c, 1.13).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.layout import MIB, SLOTS
from appliance.log import logger, progress
from appliance.paths import Paths
from services.slots import booted_disk
from services.superblock import OFFSET, SIZE, size_of

BLOCK = 4096
NAME = "block-hash-index"
UNKNOWN = "hash-unknown"  # RAUC's directory for a slot that it knows nothing of
NOTHING = hashlib.sha256(bytes(BLOCK)).digest()  # one block of zeros
PIECE = 4 * MIB


def prepare_indexes(paths: Paths, booted: str, target: str) -> None:
    """For the slot that runs and the one to be written.

    What fails here is done by RAUC itself, only more slowly.
    """
    try:
        ours = _directory(paths, target) / UNKNOWN / NAME
        if not any(_directory(paths, target).glob("hash-*")):
            _save(ours, NOTHING)
        elif ours.exists() and ours.read_bytes() == NOTHING and _is_begun(paths, target):
            ours.unlink()  # what arrived in an attempt that failed need not be downloaded again
        if not _has_index(paths, booted):
            with progress("Reading what is installed"):
                _save(_directory(paths, booted) / UNKNOWN / NAME, _hash_slot(paths, booted))
    except (OSError, ValueError) as error:
        logger.warning("no table of the slots' blocks could be made: %s", error)


def _directory(paths: Paths, slot: str) -> Path:
    return paths.data / "system/rauc" / f"slot.rootfs.{list(SLOTS).index(slot)}"


def _has_index(paths: Paths, slot: str) -> bool:
    return any(_directory(paths, slot).glob(f"hash-*/{NAME}"))


def _is_begun(paths: Paths, slot: str) -> bool:
    """RAUC writes from the beginning on, and what begins there is never a block of zeros."""
    with booted_disk(paths).open("rb", buffering=0) as disk:
        return any(os.pread(disk.fileno(), BLOCK, SLOTS[slot].start))


def _save(file: Path, table: bytes) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(file, table, mode=0o600)


def _hash_slot(paths: Paths, slot: str) -> bytes:
    """Of the file system in it. Raises ValueError where there is none."""
    start = SLOTS[slot].start
    with booted_disk(paths).open("rb", buffering=0) as disk:
        size = size_of(os.pread(disk.fileno(), SIZE, start + OFFSET))
        if size is None or size % BLOCK:
            raise ValueError(f"slot {slot} holds no file system")
        table = bytearray()
        for at in range(0, size, PIECE):
            piece = memoryview(os.pread(disk.fileno(), min(PIECE, size - at), start + at))
            os.posix_fadvise(disk.fileno(), start + at, PIECE, os.POSIX_FADV_DONTNEED)
            for block in range(0, len(piece), BLOCK):
                table += hashlib.sha256(piece[block : block + BLOCK]).digest()
        return bytes(table)
