"""The slot's file system and the flashable disk image; no loop device, no mount of an image."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ImageError
from appliance.layout import (
    BOOTFS,
    DISK_ID_OFFSET,
    GIB,
    IMAGE_SIZE,
    MIB,
    SECTOR,
    SLOT_A,
    STATE_OFFSETS,
    Partition,
)
from appliance.run import run
from appliance.slotstate import INITIAL, render_state
from imagebuild.context import Context
from imagebuild.overlay import merged, source_date_epoch
from imagebuild.sandbox import inside
from imagebuild.sparse import copy_sparse

NAMESPACE = uuid.UUID("3f1c1d0e-7d7e-5b0e-8a51-68656172746a")
# The same for every version: the seed of the directories' hashes hangs on it, and another one would
# put the entries of large directories into other blocks. Both slots may have it, because nothing
# looks for a slot by it (PARTUUID).
SLOT_UUID = uuid.uuid5(NAMESPACE, "slot")
SLOT_INODES = 65536
BLOCK = 4096
FAST_LINK = 60
GROUP = 32768 * BLOCK  # mke2fs(8): as many blocks as one block of bitmap can speak of
FLASHED_DISK_ID = b"HRTH"  # replaced by a random one at the first boot


def make_slot(context: Context, layers: Sequence[Path], target: Path) -> None:
    """A whole system as ext4: read-only, so without journal; the same bytes for the same input.

    Only as large as its content, because an update reads a hash for every block of it (RAUC's
    block-hash-index); the partition is larger. Raises ImageError when that is too small.
    """
    target.unlink(missing_ok=True)
    at = context.work / "merged"
    scratch = context.work / "slot-upper"
    prefix = merged(layers, scratch, context.work / "slot-work", at)
    stamp = source_date_epoch(context)
    sandbox = inside(
        context.tools,
        binds=[(at, "/target"), (target.parent, "/mnt")],
        env={"SOURCE_DATE_EPOCH": str(stamp)},
    )
    listing = ["find", "/target", "-mindepth", "1", "-printf", r"%y %i %s %P\0"]
    rows = parse_listing(run([*prefix, *sandbox, *listing]).stdout)
    names = target.parent / "slot.list"
    names.write_text("".join(f"./{row.path}\0" for row in in_slot_order(rows)))
    # A newer file's date is that of the packages: this build's own files have one of today.
    tar = (
        "tar --create --format=posix --pax-option=delete=atime,delete=ctime --numeric-owner"
        f" --xattrs --xattrs-include='*' --mtime=@{stamp} --clamp-mtime --no-recursion --null"
        f" --directory=/target --files-from=/mnt/{names.name}"
    )
    mke2fs = (
        f"mke2fs -q -t ext4 -O ^has_journal,^orphan_file,^resize_inode -b {BLOCK} -N {SLOT_INODES}"
        f" -m 0 -L {SLOT_A.label} -U {SLOT_UUID} -M /"
        f" -E hash_seed={SLOT_UUID},root_owner=0:0,lazy_itable_init=0,nodiscard"
        f" -d - /mnt/{target.name} {slot_size(rows) // 1024}k"
    )
    run([*prefix, *sandbox, "bash", "-eo", "pipefail", "-c", f"{tar} | {mke2fs}"])


@dataclass(frozen=True)
class Entry:
    """``kind`` as find(1) calls it: d, f, l; ``size`` in bytes."""

    kind: str
    inode: str
    size: int
    path: str


def parse_listing(text: str) -> list[Entry]:
    """What ``find -printf '%y %i %s %P\\0'`` says."""
    parts = (record.split(" ", 3) for record in text.split("\0") if record)
    return [Entry(kind, inode, int(size), path) for kind, inode, size, path in parts]


def in_slot_order(rows: Sequence[Entry]) -> list[Entry]:
    """All directories before all files, each by name.

    A file more gives all later files other inode numbers, which stand in their directories. Where
    those lie close together an update downloads a megabyte for that; scattered among the files, as
    mke2fs puts them by itself, each brings its surroundings along.
    """
    return sorted(rows, key=lambda row: (row.kind != "d", row.path))


def slot_size(rows: Sequence[Entry]) -> int:
    """Bytes that a file system for these files needs.

    Whole block groups: hashes of empty blocks are all the same and cost an update nothing, and
    inode tables stay where they are while the content grows. Raises ImageError.
    """
    # Hard links once; an overlayfs may give a directory and a file the same number.
    files = {(row.kind, row.inode): row for row in rows}
    content = sum(_blocks(row) for row in files.values()) * BLOCK
    # inode tables, bitmaps, copies of the group descriptors, blocks of extents, and some air
    needed = content + content // 50 + SLOT_INODES * 256 + 16 * MIB
    size = -(-needed // GROUP) * GROUP
    if size > (SLOT_A.size or 0) or len(files) > SLOT_INODES * 0.9:
        message = f"the root has {len(files)} files of {content / GIB:.2f} GiB: too many for a slot"
        raise ImageError(message, hint="leave packages out; slots cannot grow on flashed cards")
    return size


def _blocks(row: Entry) -> int:
    """A directory has one at least, a short link none (it lies in its inode)."""
    if row.kind == "l" and row.size < FAST_LINK:
        return 0
    return max(-(-row.size // BLOCK), 1 if row.kind == "d" else 0)


def assemble_image(bootfs: Path, slot: Path, target: Path) -> None:
    """MBR with partitions 1 and 2, the slot state, both file systems; holes stay holes."""
    partial = target.with_suffix(".partial")
    try:
        with partial.open("wb") as image:
            image.truncate(IMAGE_SIZE)
            image.write(render_mbr([BOOTFS, SLOT_A]))
            for index, offset in enumerate(STATE_OFFSETS):
                image.seek(offset)
                # The second copy is older, so the first boot writes it and keeps this one.
                image.write(render_state(INITIAL) if index == 0 else bytes(SECTOR))
            for partition, source in ((BOOTFS, bootfs), (SLOT_A, slot)):
                copy_sparse(source, image.fileno(), partition.start)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def render_mbr(partitions: Sequence[Partition]) -> bytes:
    """The first sector. CHS fields hold the "use LBA" value, as sfdisk writes them."""
    sector = bytearray(SECTOR)
    sector[DISK_ID_OFFSET : DISK_ID_OFFSET + 4] = FLASHED_DISK_ID
    for partition in partitions:
        assert partition.size is not None
        at = 446 + 16 * (partition.number - 1)
        sector[at : at + 16] = (
            b"\0\xfe\xff\xff"
            + bytes([partition.mbr_type])
            + b"\xfe\xff\xff"
            + (partition.start // SECTOR).to_bytes(4, "little")
            + (partition.size // SECTOR).to_bytes(4, "little")
        )
    sector[510:] = b"\x55\xaa"
    return bytes(sector)
