"""Slot B and the data partition, added by the first boot; each step may be cut at any sector.

    1. ext4, labelled hearth-new, straight onto the place of partition 4, directories included
    2. one sector write: entries 3 and 4 and a random disk id in the MBR
    3. the label becomes hearth-data

A cut before 2 leaves a file system that never held anything: it is made anew. A cut before 3 leaves
a finished one with the old label: it is relabelled. A file system that is already labelled
hearth-data while the table has no partition 4 belongs to an earlier Hearth on a card that was
flashed again: it is never touched here, its owner decides in the wizard.

Run by the initramfs: ``chroot SLOT python3 -m firstboot.storage prepare --disk D --report FILE``.
Standard library only.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.bootreport import DataCondition
from appliance.errors import HearthError
from appliance.layout import (
    DATA,
    GIB,
    MIN_CARD,
    NEW_DATA_LABEL,
    SLOT_B,
    Partition,
    partition_device,
)
from appliance.log import logger, progress, report_error, setup_logging
from appliance.run import run
from firstboot.skeleton import make_skeleton
from services.disk import Disk
from services.mbr import add_data, data_size, has_data, read_table
from services.superblock import read_label, write_label

MKFS_SECONDS = 600
JOURNAL_MIB = 64  # mke2fs's choice for the smallest card; up to 1024 on larger ones
Outcome = tuple[DataCondition, str, bool]


def prepare(disk: Disk, workspace: Path) -> Outcome:
    """Bring the card to its final layout: condition, its detail, and whether data are new.

    Raises ImageError or CommandError when nothing could be made; the card is then as before, or in
    a state from which the next call goes on.
    """
    is_added = has_data(read_table(disk))
    label = read_label(disk, DATA.start)
    if is_added and label is None:
        return DataCondition.DAMAGED, "the data partition holds no file system", False
    if is_added and label != NEW_DATA_LABEL:
        return DataCondition.OK, "", False
    if label == DATA.label:
        logger.info("data of an earlier Hearth are on this card: nothing is changed")
        return DataCondition.FOUND, "data of an earlier Hearth are on this card", False
    if disk.size < MIN_CARD:
        detail = f"the card holds {disk.size / GIB:.1f} GiB, and Hearth needs a card of 16 GB"
        return DataCondition.MISSING, detail, False
    with _data_place(disk) as (place, start):
        if not is_added:
            with progress("Making the data file system"):
                _make_file_system(place, start, data_size(disk), workspace)
            add_data(disk)
        write_label(place, start, DATA.label)
    return DataCondition.OK, "", True


@contextmanager
def _data_place(disk: Disk) -> Iterator[tuple[Disk, int]]:
    """Where the data file system is written: the partition's own device, or inside an image.

    mke2fs opens its device exclusively, which fails on a disk that has slot A mounted. And disk and
    partition have a page cache each: what was written through one must be read through it.
    """
    if not disk.is_block_device:
        yield disk, DATA.start
        return
    for partition in (SLOT_B, DATA):
        _tell_kernel(disk, partition, partition.size or data_size(disk))
    with Disk(partition_device(disk.path, DATA.number)) as place:
        yield place, 0


def _tell_kernel(disk: Disk, partition: Partition, size: int) -> None:
    """Add a partition to the running kernel (BLKPG, in memory only; nothing is written).

    Re-reading the whole table (BLKRRPART) is refused while slot A is mounted.
    """
    if partition_device(disk.path, partition.number).exists():
        return
    from services.blkpg import add_partition  # ctypes: only on a real disk

    add_partition(disk, partition.number, partition.start, size)


def _make_file_system(place: Disk, start: int, size: int, workspace: Path) -> None:
    """mke2fs, confined to the partition; nodiscard since it does not add ``offset`` to discards.

    The journal is zeroed: transactions that an earlier Hearth left in the same place would end the
    recovery after a power cut, and what had been synced would be lost (mke2fs(8) warns of it under
    lazy_journal_init; their checksums are wrong, but without a clock they may look newer).
    """
    with tempfile.TemporaryDirectory(dir=workspace) as directory:
        skeleton = Path(directory) / "data"
        make_skeleton(skeleton)
        options = "nodiscard,lazy_itable_init=1,lazy_journal_init=0"
        run(
            [
                "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1",
                "-J", f"size={JOURNAL_MIB}",
                "-L", NEW_DATA_LABEL, "-E", f"{options},offset={start}", "-d", skeleton,
                place.path, f"{size // 1024}k",
            ],
            timeout=MKFS_SECONDS,
        )  # fmt: skip
    place.flush()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m firstboot.storage",
        description="Add slot B and the data partition to a card that was just flashed.",
        epilog="The report has the lines data=, data_detail= and first_boot=, for /run/hearth/boot."
        " The exit code is 0 whenever a report could be written.",
    )
    parser.add_argument("verb", choices=["prepare"])
    parser.add_argument("--disk", type=Path, required=True, help="the whole disk: /dev/mmcblk0")
    parser.add_argument("--report", type=Path, required=True, help="the file to write")
    options = parser.parse_args(arguments)
    setup_logging()
    condition, detail, is_new = _outcome(options.disk, options.report.parent)
    lines = {"data": condition.value, "data_detail": detail, "first_boot": str(int(is_new))}
    options.report.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    return 0


def _outcome(disk: Path, workspace: Path) -> Outcome:
    try:
        with Disk(disk) as opened:
            return prepare(opened, workspace)
    except HearthError as error:
        report_error(error)
        message = error.message
    except OSError as error:
        logger.exception("preparing %s failed", disk)
        message = f"{disk}: {error.strerror}"
    return DataCondition.MISSING, " ".join(message.split()), False


if __name__ == "__main__":
    sys.exit(main())
