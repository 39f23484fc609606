"""The card: where the slot states and the four partitions lie (architecture, section 3).

These numbers can never change after a card was flashed, so builder and appliance share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
MIB = 1024 * 1024
GIB = 1024 * MIB

STATE_OFFSETS = (1 * MIB, 5 * MIB)
STATE_SIZE = 4096
DISK_ID_OFFSET = 440  # in the MBR: 4 bytes, little endian; PARTUUID is its hex and the number
MIN_CARD = 14 * GIB  # what is sold as 16 GB holds 14.4 to 14.9 GiB


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One primary MBR partition; ``size`` None means up to the end of the card."""

    number: int
    name: str
    start: int
    size: int | None
    mbr_type: int
    label: str


BOOTFS = Partition(
    number=1, name="bootfs", start=8 * MIB, size=512 * MIB, mbr_type=0x0C, label="bootfs"
)
SLOT_A = Partition(
    number=2, name="slot A", start=520 * MIB, size=3 * GIB, mbr_type=0x83, label="hearth-slot"
)
SLOT_B = Partition(
    number=3,
    name="slot B",
    start=520 * MIB + 3 * GIB,
    size=3 * GIB,
    mbr_type=0x83,
    label="hearth-slot",
)
DATA = Partition(
    number=4,
    name="data",
    start=520 * MIB + 6 * GIB,
    size=None,
    mbr_type=0x83,
    label="hearth-data",
)
PARTITIONS = (BOOTFS, SLOT_A, SLOT_B, DATA)
SLOTS = {"A": SLOT_A, "B": SLOT_B}

# A data file system under construction; only one that bears DATA.label has ever held anything.
NEW_DATA_LABEL = "hearth-new"
IMAGE_SIZE = SLOT_A.start + 3 * GIB


def partition_device(disk: Path, number: int) -> Path:
    """/dev/vda4, but /dev/mmcblk0p4: the kernel puts a p after a digit."""
    return disk.with_name(f"{disk.name}{'p' if disk.name[-1].isdigit() else ''}{number}")
