"""Slot B and data on a fresh card, with power cuts at every write.

Our own writes are recorded one by one; each may be cut before, after, and within (a torn write is a
prefix of its sectors). Inside mke2fs any subset of its blocks may be on the card, in any order.
Whatever is there, the next start must end in the right layout, with a clean file system.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.bootreport import DataCondition
from appliance.layout import DATA, GIB, MIN_CARD, NEW_DATA_LABEL, SECTOR, partition_device
from appliance.persistence import PERSISTED
from appliance.run import run
from firstboot import storage
from firstboot.storage import JOURNAL_MIB, main, prepare
from services import olddata
from services.disk import Disk
from services.mbr import has_data, read_table
from services.superblock import give_up, read_label
from unit.services.card import (
    OFFSET,
    copy_card,
    files,
    first_sector,
    fsck,
    make_card,
    marks_are_whole,
    read_file,
    used_blocks,
)

SUBSETS = 12
BLOCK = 4096


@dataclass(frozen=True)
class Write:
    at: int
    data: bytes


class RecordingDisk(Disk):
    """Notes each write in order, and the card as it was before the first one of ours."""

    def __init__(self, path: Path, *, before: Path) -> None:
        super().__init__(path)
        self.writes: list[Write] = []
        self._before = before

    def write(self, at: int, data: bytes) -> None:
        if not self.writes:
            copy_card(self.path, self._before)
        self.writes.append(Write(at, data))
        super().write(at, data)


@dataclass(frozen=True)
class Recording:
    """``fresh`` as flashed, ``made`` after mke2fs, then our own writes."""

    fresh: Path
    made: Path
    writes: tuple[Write, ...]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    root = tmp_path_factory.mktemp("recording")
    fresh = make_card(root / "fresh")
    card = copy_card(fresh, root / "card")
    with RecordingDisk(card, before=root / "made") as disk:
        assert prepare(disk, root) == (DataCondition.OK, "", True)
        return Recording(fresh, root / "made", tuple(disk.writes))


def prepare_again(card: Path) -> tuple[DataCondition, str, bool]:
    with Disk(card) as disk:
        return prepare(disk, card.parent)


def assert_right(card: Path) -> None:
    with Disk(card) as disk:
        assert has_data(read_table(disk))
        assert read_label(disk, DATA.start) == DATA.label
    fsck(card)
    listing = files(card, "/")
    assert all(row.path.split("/")[0] in listing for row in PERSISTED)
    assert marks_are_whole(card)


def lay(card: Path, write: Write) -> None:
    with card.open("r+b") as file:
        file.seek(write.at)
        file.write(write.data)


# ---- the plain way ------------------------------------------------------------------------------


def test_a_fresh_card(recording: Recording, tmp_path: Path) -> None:
    card = copy_card(recording.fresh, tmp_path / "card")
    assert prepare_again(card) == (DataCondition.OK, "", True)
    assert_right(card)
    assert re.fullmatch(r"[0-9a-f]{32}\n", read_file(card, "/system/machine-id"))
    before = used_blocks(card)
    assert prepare_again(card) == (DataCondition.OK, "", False)
    assert used_blocks(card) == before


def test_no_old_transaction_is_left_in_the_journal(recording: Recording, tmp_path: Path) -> None:
    """Else e2fsck may take it for a damaged one of the new journal, and stop there."""
    place = journal_start(recording.made)
    card = copy_card(recording.fresh, tmp_path / "card")
    lay(card, Write(place, b"an old block of the journal".ljust(BLOCK, b".") * 256))
    prepare_again(card)
    assert journal_start(card) == place
    with card.open("rb") as file:
        file.seek(place + BLOCK)
        assert file.read(JOURNAL_MIB * 1024**2 - BLOCK).count(0) == JOURNAL_MIB * 1024**2 - BLOCK
    assert f"{JOURNAL_MIB}M" in run(["dumpe2fs", "-h", f"{card}{OFFSET}"]).stdout


def journal_start(card: Path) -> int:
    """Where on the card inode 8, the journal, begins."""
    block = run(["debugfs", "-R", "bmap <8> 0", f"{card}{OFFSET}"]).stdout
    return DATA.start + int(block) * BLOCK


def test_two_cards_are_two_machines(recording: Recording, tmp_path: Path) -> None:
    ids = set()
    for name in ("one", "two"):
        card = copy_card(recording.fresh, tmp_path / name)
        prepare_again(card)
        ids.add((read_file(card, "/system/machine-id"), first_sector(card)[440:444]))
    (one, first), (two, second) = ids
    assert one != two
    assert first != second


def test_the_report(recording: Recording, tmp_path: Path) -> None:
    card = copy_card(recording.fresh, tmp_path / "card")
    report = tmp_path / "report"
    assert main(["prepare", "--disk", str(card), "--report", str(report)]) == 0
    assert report.read_text() == "data=ok\ndata_detail=\nfirst_boot=1\n"
    assert main(["prepare", "--disk", str(card), "--report", str(report)]) == 0
    assert report.read_text() == "data=ok\ndata_detail=\nfirst_boot=0\n"


@pytest.mark.parametrize(("size", "says"), [(MIN_CARD - 1024**2, "16 GB"), (8 * GIB, "16 GB")])
def test_a_small_card_is_left_alone(tmp_path: Path, size: int, says: str) -> None:
    card = make_card(tmp_path / "card", size=size)
    before = used_blocks(card)
    condition, detail, _ = prepare_again(card)
    assert condition is DataCondition.MISSING
    assert says in detail
    assert used_blocks(card) == before


def test_what_cannot_be_written_is_reported_as_missing(tmp_path: Path) -> None:
    report = tmp_path / "report"
    main(["prepare", "--disk", str(tmp_path / "none"), "--report", str(report)])
    assert "data=missing\n" in report.read_text()
    assert "cannot be opened" in report.read_text()


def test_when_mke2fs_fails_the_table_stays_as_it_was(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real failure: there is no mke2fs on this PATH."""
    card = copy_card(recording.fresh, tmp_path / "card")
    report = tmp_path / "report"
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        main(["prepare", "--disk", str(card), "--report", str(report)])
    assert "data=missing\n" in report.read_text()
    assert "mke2fs" in report.read_text()
    assert not has_table_entry(card)
    assert prepare_again(card)[0] is DataCondition.OK


def has_table_entry(card: Path) -> bool:
    with Disk(card) as disk:
        return has_data(read_table(disk))


# ---- power cuts ---------------------------------------------------------------------------------


def test_our_own_writes_are_single_sectors_in_a_safe_order(recording: Recording) -> None:
    assert [write.at for write in recording.writes] == [
        0,
        DATA.start + 1024 + SECTOR,
        DATA.start + 1024,
    ]
    assert all(len(write.data) == SECTOR for write in recording.writes)


def test_a_cut_after_each_of_our_writes(recording: Recording, tmp_path: Path) -> None:
    for done in range(len(recording.writes) + 1):
        card = copy_card(recording.made, tmp_path / f"card{done}")
        for write in recording.writes[:done]:
            lay(card, write)
        condition, _, is_new = prepare_again(card)
        assert condition is DataCondition.OK
        assert is_new == (done < len(recording.writes))
        assert_right(card)
        card.unlink()


@pytest.mark.parametrize("seed", range(SUBSETS))
def test_a_cut_inside_mke2fs(recording: Recording, tmp_path: Path, seed: int) -> None:
    """Any subset of its blocks, the superblock once there and once not."""
    random_ = random.Random(seed)
    before, after = used_blocks(recording.fresh), used_blocks(recording.made)
    changed = [number for number, data in after.items() if before.get(number) != data]
    assert min(changed) >= DATA.start // BLOCK
    share = random_.choice([0.02, 0.5, 0.98])
    chosen = {number for number in changed if random_.random() < share}
    superblock = DATA.start // BLOCK
    chosen = chosen | {superblock} if seed % 2 else chosen - {superblock}
    card = copy_card(recording.fresh, tmp_path / "card")
    for number in chosen:
        lay(card, Write(number * BLOCK, after[number]))
    # One more block is torn: only its first sectors arrived.
    torn = random_.choice(changed)
    lay(card, Write(torn * BLOCK, after[torn][: SECTOR * random_.randrange(1, 8)]))
    assert prepare_again(card) == (DataCondition.OK, "", True)
    assert_right(card)


# ---- data of an earlier Hearth ------------------------------------------------------------------


@pytest.fixture
def flashed_again(recording: Recording, tmp_path: Path) -> Path:
    """Data from before, and the first sectors of a fresh image over the table."""
    card = copy_card(recording.fresh, tmp_path / "card")
    prepare_again(card)
    lay(card, Write(0, first_sector(recording.fresh)))
    return card


def test_earlier_data_are_found_and_never_touched(flashed_again: Path) -> None:
    before = used_blocks(flashed_again)
    for _ in range(3):
        condition, detail, is_new = prepare_again(flashed_again)
        assert (condition, is_new) == (DataCondition.FOUND, False)
        assert detail
    assert used_blocks(flashed_again) == before


def test_even_damaged_earlier_data_are_not_formatted(flashed_again: Path) -> None:
    lay(flashed_again, Write(DATA.start + 1024 + SECTOR, bytes(SECTOR)))
    lay(flashed_again, Write(DATA.start + 8192, bytes(65536)))
    before = used_blocks(flashed_again)
    assert prepare_again(flashed_again)[0] is DataCondition.FOUND
    assert used_blocks(flashed_again) == before


def test_a_smaller_looking_card_does_not_lose_them_either(flashed_again: Path) -> None:
    with flashed_again.open("r+b") as file:
        file.truncate(MIN_CARD - 1024**3)
    assert prepare_again(flashed_again)[0] is DataCondition.FOUND


def test_adopting_keeps_them(flashed_again: Path) -> None:
    machine_id = read_file(flashed_again, "/system/machine-id")
    olddata.adopt(flashed_again)
    assert prepare_again(flashed_again) == (DataCondition.OK, "", False)
    assert read_file(flashed_again, "/system/machine-id") == machine_id
    assert_right(flashed_again)


def test_erasing_makes_them_anew_at_the_next_start(flashed_again: Path) -> None:
    machine_id = read_file(flashed_again, "/system/machine-id")
    olddata.erase(flashed_again)
    assert prepare_again(flashed_again) == (DataCondition.OK, "", True)
    assert read_file(flashed_again, "/system/machine-id") != machine_id
    assert_right(flashed_again)


def test_a_data_partition_without_a_file_system_is_damaged(
    recording: Recording, tmp_path: Path
) -> None:
    card = copy_card(recording.fresh, tmp_path / "card")
    prepare_again(card)
    lay(card, Write(DATA.start, bytes(8192)))
    before = used_blocks(card)
    assert prepare_again(card)[0] is DataCondition.DAMAGED
    assert used_blocks(card) == before


def test_only_a_label_of_ours_counts_as_unfinished(recording: Recording, tmp_path: Path) -> None:
    """A finished partition keeps its data even when the label is the provisional one."""
    card = copy_card(recording.fresh, tmp_path / "card")
    prepare_again(card)
    machine_id = read_file(card, "/system/machine-id")
    with Disk(card) as disk:
        give_up(disk, DATA.start, NEW_DATA_LABEL)
    assert prepare_again(card)[0] is DataCondition.OK
    assert read_file(card, "/system/machine-id") == machine_id
    assert_right(card)


# ---- names --------------------------------------------------------------------------------------


def test_the_kernels_names_of_partitions() -> None:
    assert partition_device(Path("/dev/vda"), 4) == Path("/dev/vda4")
    assert partition_device(Path("/dev/mmcblk0"), 4) == Path("/dev/mmcblk0p4")


def test_it_needs_only_the_standard_library() -> None:
    """The initramfs runs it in a chroot before anything is mounted."""
    import sys

    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import firstboot.storage;"
        "names = {name.partition('.')[0] for name in sys.modules};"
        "ours = {'appliance', 'services', 'firstboot', '__main__'};"
        "other = names - ours - sys.stdlib_module_names; print(sorted(other))"
    )
    root = str(Path(storage.__file__).parents[1])
    assert run([sys.executable, "-I", "-S", "-c", code, root]).stdout.strip() == "[]"
