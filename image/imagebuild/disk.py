"""The slot's file system and the flashable disk image; no loop device, no mount of an image."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from appliance.layout import (
    BOOTFS,
    DISK_ID_OFFSET,
    IMAGE_SIZE,
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
SLOT_INODES = 98304
FLASHED_DISK_ID = b"HRTH"  # replaced by a random one at the first boot


def make_slot(context: Context, layers: Sequence[Path], target: Path) -> None:
    """A whole system as ext4: read-only, so without journal; the same bytes for the same input."""
    target.unlink(missing_ok=True)
    at = context.work / "merged"
    scratch = context.work / "slot-upper"
    prefix = merged(layers, scratch, context.work / "slot-work", at)
    stamp = source_date_epoch(context)
    identity = uuid.uuid5(NAMESPACE, context.recipe.version)
    sandbox = inside(
        context.tools,
        binds=[(at, "/target"), (target.parent, "/mnt")],
        env={"SOURCE_DATE_EPOCH": str(stamp), "E2FSPROGS_FAKE_TIME": str(stamp)},
    )
    # mke2fs gives files newer than SOURCE_DATE_EPOCH, those that this build made, that date.
    mke2fs = (
        f"mke2fs -q -t ext4 -O ^has_journal,^orphan_file,^resize_inode -b 4096 -N {SLOT_INODES}"
        f" -m 0 -L {SLOT_A.label} -U {identity} -M /"
        f" -E hash_seed={identity},root_owner=0:0,lazy_itable_init=0,nodiscard"
        f" -d /target /mnt/{target.name} {(SLOT_A.size or 0) // 1024}k"
    )
    run([*prefix, *sandbox, "sh", "-ec", mke2fs])


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
