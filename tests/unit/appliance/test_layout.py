"""The card's numbers: they can never change, so they are written down a second time here."""

from __future__ import annotations

from appliance.layout import (
    BOOTFS,
    DATA,
    IMAGE_SIZE,
    MIB,
    MIN_CARD,
    PARTITIONS,
    SECTOR,
    SLOT_A,
    SLOT_B,
    STATE_OFFSETS,
    STATE_SIZE,
)
from appliance.persistence import PERSISTED


def test_the_layout_of_cards_in_the_field() -> None:
    """architecture.md, section 3. A failure here means: an update would not find its partitions."""
    found = [(p.number, p.start // MIB, p.size and p.size // MIB, p.mbr_type) for p in PARTITIONS]
    assert found == [
        (1, 8, 512, 0x0C),
        (2, 520, 3072, 0x83),
        (3, 3592, 3072, 0x83),
        (4, 6664, None, 0x83),
    ]
    assert STATE_OFFSETS == (1 * MIB, 5 * MIB)
    assert STATE_SIZE == 4096


def test_nothing_overlaps_and_everything_is_aligned() -> None:
    ends = [SECTOR]
    for offset in STATE_OFFSETS:
        assert ends[-1] <= offset
        ends.append(offset + STATE_SIZE)
    for partition in PARTITIONS:
        assert partition.start % (4 * MIB) == 0  # erase blocks of common cards
        assert ends[-1] <= partition.start
        ends.append(partition.start + (partition.size or 0))
    assert IMAGE_SIZE == SLOT_A.start + (SLOT_A.size or 0) == SLOT_B.start
    assert DATA.start < MIN_CARD
    assert BOOTFS.start % SECTOR == 0


def test_persisted_rows_are_below_data_and_bound_once() -> None:
    places = [row.bind for row in PERSISTED if row.bind]
    assert len(set(places)) == len(places)
    assert all(place.startswith("/") for place in places)
    assert not any(row.path.startswith("/") or ".." in row.path for row in PERSISTED)
    assert len({row.path for row in PERSISTED}) == len(PERSISTED)
