"""The partition table of a Hearth card: a classic MBR (a Pi 3's ROM reads nothing else).

Layout of the sector: UEFI specification 2.10, section 5.2.1 ("Legacy MBR").
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from appliance.errors import ImageError
from appliance.layout import DATA, DISK_ID_OFFSET, MIB, SECTOR, SLOT_A, SLOT_B, Partition
from services.disk import Disk

TABLE_OFFSET = 446
ENTRY = struct.Struct("<B3sB3sII")
SIGNATURE = b"\x55\xaa"
# Cylinder, head and sector that mean "too far for CHS, use the sector numbers".
NO_CHS = b"\xfe\xff\xff"
MAX_SECTORS = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Bytes, not sectors; a size of 0 is an empty entry."""

    number: int
    type: int
    start: int
    size: int


def parse_table(sector: bytes) -> dict[int, Entry]:
    """The four entries by number. Raises ImageError for a sector that is no MBR."""
    if len(sector) != SECTOR or sector[-2:] != SIGNATURE:
        message = "the card's first sector is not a partition table"
        raise ImageError(message, hint="flash the card again")
    found: dict[int, Entry] = {}
    for index in range(4):
        _, _, kind, _, start, count = ENTRY.unpack_from(sector, TABLE_OFFSET + index * ENTRY.size)
        number = index + 1
        found[number] = Entry(number=number, type=kind, start=start * SECTOR, size=count * SECTOR)
    return found


def read_table(disk: Disk) -> dict[int, Entry]:
    """The table of a Hearth card. Raises ImageError when it is somebody else's."""
    table = parse_table(disk.read(0, SECTOR))
    if table[SLOT_A.number].start != SLOT_A.start:
        message = f"{disk.path} does not have slot A where Hearth puts it"
        raise ImageError(message, hint="flash the card again, and do not repartition it")
    return table


def has_data(table: dict[int, Entry]) -> bool:
    """Whether the first boot has added slot B and data. Raises ImageError for half of it."""
    slot_b, data = table[SLOT_B.number], table[DATA.number]
    is_ours = (slot_b.start, slot_b.size) == (SLOT_B.start, SLOT_B.size)
    if not data.size and (is_ours or not slot_b.size):
        return False  # with slot B: ``remove_data`` took it away
    if slot_b.start != SLOT_B.start or data.start != DATA.start or not data.size:
        message = "partitions 3 and 4 are not where Hearth puts them"
        raise ImageError(message, hint="flash the card again, and do not repartition it")
    return True


def data_size(disk: Disk) -> int:
    """Up to the end of the card in whole MiB, or as far as an MBR can count."""
    return min((disk.size - DATA.start) // MIB * MIB, MAX_SECTORS // 2048 * MIB)


def add_data(disk: Disk) -> None:
    """Entries 3 and 4 and a random disk id in one sector write: all of it or nothing."""
    sector = bytearray(disk.read(0, SECTOR))
    for partition, size in ((SLOT_B, SLOT_B.size), (DATA, data_size(disk))):
        at = TABLE_OFFSET + (partition.number - 1) * ENTRY.size
        ENTRY.pack_into(sector, at, *_fields(partition, size or 0))
    sector[DISK_ID_OFFSET : DISK_ID_OFFSET + 4] = _random_id()
    disk.write(0, bytes(sector))


def remove_data(disk: Disk) -> None:
    """Entry 4 away in one sector write; slot B stays, which may be the one that starts."""
    sector = bytearray(disk.read(0, SECTOR))
    at = TABLE_OFFSET + (DATA.number - 1) * ENTRY.size
    sector[at : at + ENTRY.size] = bytes(ENTRY.size)
    disk.write(0, bytes(sector))


def _fields(partition: Partition, size: int) -> tuple[int, bytes, int, bytes, int, int]:
    start, count = partition.start // SECTOR, size // SECTOR
    return (0, NO_CHS, partition.mbr_type, NO_CHS, start, count)


def _random_id() -> bytes:
    """Four bytes, not all zero: Linux gives a disk with id 0 no PARTUUIDs."""
    while not any(number := os.urandom(4)):
        pass
    return number
