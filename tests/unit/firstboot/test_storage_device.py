"""The same on a real block device, with slot A mounted from it as at a first boot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.bootreport import DataCondition
from appliance.layout import DATA, SLOT_A, partition_device
from appliance.run import run
from firstboot.storage import prepare
from services.blkpg import add_partition
from services.disk import Disk
from unit.services.card import fsck, make_card, marks_are_whole

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
)


@pytest.fixture
def booted(tmp_path: Path) -> Iterator[Path]:
    """A loop device whose partition 2 is mounted."""
    card = make_card(tmp_path / "card")
    loop = Path(run(["losetup", "--find", "--show", "--partscan", card]).stdout.strip())
    slot = partition_device(loop, SLOT_A.number)
    try:
        if not slot.exists():  # a kernel that does not read partition tables of loop devices
            assert SLOT_A.size is not None
            with Disk(loop) as disk:
                add_partition(disk, SLOT_A.number, SLOT_A.start, SLOT_A.size)
        # Smaller than the slot, so that the marks at its end stay.
        run(["mke2fs", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1", slot, "64m"])
        (tmp_path / "slot").mkdir()
        run(["mount", "-o", "ro", slot, tmp_path / "slot"])
        yield loop
        run(["umount", tmp_path / "slot"])
    finally:
        run(["partx", "--delete", loop], check=False)
        run(["losetup", "--detach", loop])


def test_the_first_boot_of_a_real_disk(booted: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with Disk(booted) as disk:
        assert prepare(disk, tmp_path / "run") == (DataCondition.OK, "", True)
    data = partition_device(booted, DATA.number)
    assert data.is_block_device()
    assert partition_device(booted, 3).is_block_device()
    place = tmp_path / "data"
    place.mkdir()
    run(["mount", data, place])
    try:
        assert (place / "system" / "machine-id").stat().st_size == 33
        assert (place / "ssh").stat().st_mode & 0o777 == 0o700
    finally:
        run(["umount", place])
    with Disk(booted) as disk:
        assert prepare(disk, tmp_path / "run") == (DataCondition.OK, "", False)
    run(["sync", "--file-system", tmp_path])
    fsck(tmp_path / "card")
    assert run(["dumpe2fs", "-h", data]).stdout.count("hearth-data") == 1


def test_an_unfinished_label_is_made_good_through_the_partition(
    booted: Path, tmp_path: Path
) -> None:
    with Disk(booted) as disk:
        prepare(disk, tmp_path)
    data = partition_device(booted, DATA.number)
    run(["e2label", data, "hearth-new"])
    run(["blockdev", "--flushbufs", booted])
    with Disk(booted) as disk:
        assert prepare(disk, tmp_path) == (DataCondition.OK, "", True)
    assert run(["e2label", data]).stdout.strip() == "hearth-data"
    run(["e2fsck", "-fn", data])


def test_slot_and_states_are_untouched(booted: Path, tmp_path: Path) -> None:
    before = marks_are_whole(tmp_path / "card")
    with Disk(booted) as disk:
        prepare(disk, tmp_path)
    run(["blockdev", "--flushbufs", booted])
    assert marks_are_whole(tmp_path / "card") == before
