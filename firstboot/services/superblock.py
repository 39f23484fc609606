"""The label in an ext4 superblock, read and changed without mounting.

e2label writes the superblock's two sectors at once, and a cut between them leaves a file system
whose checksum is wrong. Here each write is one sector, in an order in which every cut is harmless.
Layout: Linux kernel documentation, filesystems/ext4, "Super Block".
"""

from __future__ import annotations

import struct

from appliance.layout import SECTOR
from services.disk import Disk

OFFSET = 1024
SIZE = 1024
BLOCKS_AT, LOG_SIZE_AT, HIGH_AT = 0x4, 0x18, 0x150
MAGIC_AT = 0x38
MAGIC = b"\x53\xef"
LABEL_AT = 0x78
LABEL_SIZE = 16
RO_FEATURES_AT = 0x64
METADATA_CSUM = 0x400
CHECKSUM_AT = 0x3FC
CASTAGNOLI = 0x82F63B78  # CRC-32C, reversed polynomial (RFC 3720, appendix B.4)


def read_label(disk: Disk, start: int) -> str | None:
    """The label of the ext4 file system at ``start``; None when there is none.

    The checksum does not count here: what once bore a name is never taken for free space.
    """
    block = disk.read(start + OFFSET, SIZE)
    if block[MAGIC_AT : MAGIC_AT + 2] != MAGIC:
        return None
    label = block[LABEL_AT : LABEL_AT + LABEL_SIZE]
    return label.split(b"\0", 1)[0].decode("utf-8", "replace")


def size_of(block: bytes) -> int | None:
    """Bytes of the file system with this superblock; None when it is none."""
    if len(block) < SIZE or block[MAGIC_AT : MAGIC_AT + 2] != MAGIC:
        return None
    low, log_size, high = (
        int.from_bytes(block[at : at + 4], "little") for at in (BLOCKS_AT, LOG_SIZE_AT, HIGH_AT)
    )
    return ((high << 32) + low) * (1024 << log_size)


def write_label(disk: Disk, start: int, label: str) -> None:
    """Change the label of a sound file system: the new checksum first, then the label.

    A cut between the two leaves the old label, and calling again makes it good.
    """
    block = _with_label(disk, start, label)
    (features,) = struct.unpack_from("<I", block, RO_FEATURES_AT)
    if features & METADATA_CSUM:
        struct.pack_into("<I", block, CHECKSUM_AT, crc32c(bytes(block[:CHECKSUM_AT])))
        disk.write(start + OFFSET + SECTOR, bytes(block[SECTOR:]))
    disk.write(start + OFFSET, bytes(block[:SECTOR]))


def give_up(disk: Disk, start: int, label: str) -> None:
    """Change the label in a single sector write; the file system is only fit to be made anew."""
    disk.write(start + OFFSET, bytes(_with_label(disk, start, label)[:SECTOR]))


def _with_label(disk: Disk, start: int, label: str) -> bytearray:
    block = bytearray(disk.read(start + OFFSET, SIZE))
    block[LABEL_AT : LABEL_AT + LABEL_SIZE] = label.encode().ljust(LABEL_SIZE, b"\0")
    return block


def crc32c(data: bytes) -> int:
    """As ext4 uses it: seed of all ones, no final inversion."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (CASTAGNOLI if value & 1 else 0)
    return value
