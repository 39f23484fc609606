"""RAUC's tables of block hashes, made here for slots that RAUC has not written yet.

An adaptive update takes what it can from both slots, by a table of each: the SHA-256 of every
4 KiB block. RAUC keeps the table of what it installs; where it has none it reads and hashes all of
the partition, which for both is 6 GiB of a card. A flashed slot holds a file system of a tenth of
that, and beside it nothing. A table may be shorter than its partition, and RAUC hashes again what
it finds by one, so that a wrong one costs bytes of a download and no more (src/hash_index.c, 1.13).

RAUC finds a slot's table by the digest in its status file, and at each look removes all others. Of
a slot that it never wrote it has no digest, so one is written down for it before it starts. When it
begins to write a slot the table becomes that of UNKNOWN (src/slot.c, src/status_file.c, 1.13).
"""

from __future__ import annotations

import hashlib
import io
import os
from configparser import Error, RawConfigParser
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.layout import MIB, SLOTS
from appliance.log import logger, progress
from appliance.paths import Paths
from services.slots import booted_disk
from services.superblock import OFFSET, SIZE, size_of

BLOCK = 4096
NAME = "block-hash-index"
DIGEST = "flashed"
FLASHED = f"hash-{DIGEST}"
UNKNOWN = "hash-unknown"  # RAUC's directory for a slot that is being written
STATUS = "central.raucs"
NOTHING = hashlib.sha256(bytes(BLOCK)).digest()  # one block of zeros
PIECE = 4 * MIB


def note_flashed(paths: Paths) -> None:
    """Give the slots that RAUC never wrote a digest in its status file. It must not be running."""
    file = paths.data / "system/rauc" / STATUS
    status = RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=False)
    status.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        if file.exists():
            status.read(file)
    except (Error, UnicodeDecodeError) as error:
        logger.warning("%s cannot be read, and is left to RAUC: %s", file, error)
        return
    changed = False
    for number in range(len(SLOTS)):
        name = f"slot.rootfs.{number}"
        if not status.has_option(name, "status") and not status.has_option(name, "sha256"):
            status.read_dict({name: {"sha256": DIGEST, "size": "0"}})
            changed = True
    if changed:
        text = io.StringIO()
        status.write(text, space_around_delimiters=False)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(file, text.getvalue(), mode=0o600)


def prepare_indexes(paths: Paths, booted: str, target: str) -> None:
    """For the slot that runs and the one to be written.

    What fails here is done by RAUC itself, only more slowly.
    """
    try:
        _prepare_target(paths, target)
        if not _has_index(paths, booted):
            with progress("Reading what is installed"):
                _save(_directory(paths, booted) / FLASHED / NAME, _hash_slot(paths, booted))
    except (OSError, ValueError) as error:
        logger.warning("no table of the slots' blocks could be made: %s", error)


def _prepare_target(paths: Paths, target: str) -> None:
    """A flashed one is told to hold nothing, until something was written to it."""
    begun = _directory(paths, target) / UNKNOWN / NAME
    if begun.exists() and begun.read_bytes() == NOTHING and _is_begun(paths, target):
        begun.unlink()  # what arrived in an attempt that broke off need not be downloaded again
    elif not any(_directory(paths, target).glob("hash-*")):
        _save(_directory(paths, target) / FLASHED / NAME, NOTHING)


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
