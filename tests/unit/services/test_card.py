"""Table, superblock and disk against the tools that everybody else uses."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from appliance.errors import ImageError
from appliance.layout import DATA, DISK_ID_OFFSET, GIB, MIB, SLOT_B
from appliance.run import find_tool, run
from services.disk import Disk
from services.mbr import add_data, data_size, has_data, parse_table, read_table
from services.superblock import crc32c, give_up, read_label, write_label
from unit.services.card import OFFSET, fsck, make_card, marks_are_whole


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return make_card(tmp_path / "card")


def make_file_system(card: Path, label: str, *options: str) -> None:
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-L", label, *options,
         "-E", f"offset={DATA.start},nodiscard", card, "1048576k"])  # fmt: skip


def test_added_entries(card: Path) -> None:
    with Disk(card) as disk:
        assert not has_data(read_table(disk))
        add_data(disk)
        table = read_table(disk)
        assert has_data(table)
        assert (table[3].start, table[3].size) == (SLOT_B.start, SLOT_B.size)
        assert (table[4].start, table[4].size) == (DATA.start, data_size(disk))
        assert table[4].start + table[4].size <= disk.size
    assert marks_are_whole(card)


@pytest.mark.skipif(find_tool("sfdisk") is None, reason="sfdisk is not installed")
def test_sfdisk_reads_the_same(card: Path) -> None:
    with Disk(card) as disk:
        add_data(disk)
    listing = run(["sfdisk", "--dump", card]).stdout
    starts = [int(line.split("start=")[1].split(",")[0]) for line in listing.splitlines()
              if "start=" in line]  # fmt: skip
    assert starts == [16384, 1064960, SLOT_B.start // 512, DATA.start // 512]


def test_the_disk_id_is_random_and_never_zero(card: Path) -> None:
    seen = set()
    for _ in range(8):
        with Disk(card) as disk:
            add_data(disk)
            seen.add(disk.read(DISK_ID_OFFSET, 4))
    assert len(seen) == 8
    assert bytes(4) not in seen


def test_a_card_beyond_what_an_mbr_can_count(tmp_path: Path) -> None:
    with Disk(make_card(tmp_path / "huge", size=4096 * GIB)) as disk:
        add_data(disk)
        assert read_table(disk)[4].size == (2**32 - 1) // 2048 * MIB


@pytest.mark.parametrize("damage", ["signature", "slot A elsewhere", "half of it", "empty"])
def test_somebody_elses_table_is_refused(card: Path, damage: str) -> None:
    with card.open("r+b") as file:
        sector = bytearray(file.read(512))
        match damage:
            case "signature":
                sector[510] = 0
            case "slot A elsewhere":
                struct.pack_into("<I", sector, 446 + 16 + 8, 4096)
            case "half of it":
                struct.pack_into("<II", sector, 446 + 32 + 8, SLOT_B.start // 512, 100)
            case _:
                sector[:] = bytes(512)
        file.seek(0)
        file.write(sector)
    with Disk(card) as disk, pytest.raises(ImageError) as caught:
        has_data(read_table(disk))
    assert caught.value.hint


def test_a_short_sector_is_no_table() -> None:
    with pytest.raises(ImageError):
        parse_table(b"")


def test_crc32c_check_value() -> None:
    """The catalogue's check value for CRC-32C is E3069283, inverted as ext4 leaves it."""
    assert crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283


@pytest.mark.parametrize("options", [(), ("-O", "^metadata_csum")])
def test_a_new_label_keeps_the_file_system_sound(card: Path, options: tuple[str, ...]) -> None:
    make_file_system(card, "hearth-new", *options)
    with Disk(card) as disk:
        assert read_label(disk, DATA.start) == "hearth-new"
        write_label(disk, DATA.start, "hearth-data")
        assert read_label(disk, DATA.start) == "hearth-data"
    fsck(card)
    listing = run(["dumpe2fs", "-h", f"{card}{OFFSET}"]).stdout
    assert "hearth-data" in listing


def test_what_is_not_ext4_has_no_label(card: Path) -> None:
    with Disk(card) as disk:
        assert read_label(disk, DATA.start) is None
    with card.open("r+b") as file:
        file.seek(DATA.start)
        file.write(os.urandom(4096).replace(b"\x53\xef", b"\0\0"))
    with Disk(card) as disk:
        assert read_label(disk, DATA.start) is None


def test_a_broken_checksum_does_not_hide_a_label(card: Path) -> None:
    make_file_system(card, "hearth-data")
    with card.open("r+b") as file:
        file.seek(DATA.start + 1024 + 0x3FC)
        file.write(b"\0\0\0\0")
    with Disk(card) as disk:
        assert read_label(disk, DATA.start) == "hearth-data"


def test_giving_up_is_one_sector(card: Path) -> None:
    make_file_system(card, "hearth-data")
    before = card.open("rb")
    with before, Disk(card) as disk:
        old = disk.read(DATA.start, 8192)
        give_up(disk, DATA.start, "hearth-new")
        new = disk.read(DATA.start, 8192)
        changed = {at // 512 for at in range(8192) if old[at] != new[at]}
        assert changed == {2}
        assert read_label(disk, DATA.start) == "hearth-new"


def test_a_missing_or_closed_disk_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be opened"):
        Disk(tmp_path / "none")
