"""Which disk: what udev says of card readers and sticks, and of one that comes or goes.

The hardware is umockdev's (see testbed.py); what is written goes to a file.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pyudev

from appliance.errors import DiskError, DiskGoneError, UsageError
from appliance.layout import DATA, MIB
from imagebuild.flash.watch import wait_for, watch_for_removal
from imagebuild.recipe import SOURCE
from unit.imagebuild.flashing import make_content, make_image

BED = Path(__file__).with_name("testbed.py")
LOOP_CTL_ADD, LOOP_CTL_REMOVE = 0x4C80, 0x4C81  # linux/loop.h
SPARE_LOOP = 97


def in_bed(
    scenario: str, *argv: str | Path, typed: str = "", check: int | None = 0
) -> subprocess.CompletedProcess[str]:
    parts = ("image", "firstboot", "setup-ui", "tests")
    path = ":".join(os.fspath(SOURCE / part) for part in parts)
    result = subprocess.run(
        ["umockdev-wrapper", sys.executable, BED, scenario, *argv],
        env={**os.environ, "PYTHONPATH": path}, input=typed, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in result.stderr, result.stderr
    if check is not None:
        assert result.returncode == check, result.stderr
    return result


def test_the_list_tells_one_disk_from_another() -> None:
    result = in_bed("everything", "flash --list --json :: flash --list")
    listed, _, text = result.stdout.partition("\n]\n")
    rows = {row["name"]: row for row in json.loads(f"{listed}]")}
    # Not the built-in disk, the eMMC, the disc drive, or the reader without a card.
    assert set(rows) == {"sdb", "mmcblk0", "sdc"}
    stick = rows["sdb"]
    assert stick["model"] == "SanDisk Ultra Fit"
    assert stick["port"] == "USB 2-1"
    assert stick["size"] == 16 * 1024**3
    assert [(c["label"], c["type"]) for c in stick["contents"]] == [
        ("bootfs", "vfat"), ("hearth-data", "ext4")
    ]  # fmt: skip
    assert stick["obstacle"] is None
    assert (rows["mmcblk0"]["model"], rows["mmcblk0"]["port"]) == ("SC32G", "card slot")
    assert "LVM volume home-photos" in rows["sdc"]["obstacle"]

    # And for people.
    assert "17.2 GB  SanDisk Ultra Fit on USB 2-1; bootfs (vfat 1.1 GB)" in text
    assert "not possible: sdc is in use: sdc1 is part of the LVM volume home-photos" in text


REFUSED = {
    "sda": "built into this computer",
    "mmcblk1": "built into this computer",
    "sdc": "LVM volume home-photos",
    "sdd": "has no card in it",
    "sdb1": "one partition of sdb",
    "sdz": "there is no disk",
    "/dev/nothing": "there is no disk",
}


def test_what_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path, make_content())
    commands = [f"flash {image} --disk {disk}" for disk in REFUSED]
    result = in_bed("everything", " :: ".join(commands), check=DiskError.exit_code)
    answers = result.stderr.split(f"status: {DiskError.exit_code}\n")
    assert len(answers) == len(REFUSED) + 1
    for answer, words in zip(answers, REFUSED.values(), strict=False):
        assert words in answer
        assert " hint: " in answer


def test_several_disks_want_a_name(tmp_path: Path) -> None:
    result = in_bed("everything", "flash", make_image(tmp_path, make_content()),
                    check=DiskError.exit_code)  # fmt: skip
    assert "several disks: mmcblk0, sdb" in result.stderr


def test_a_backup_disk_is_not_chosen_without_its_name(tmp_path: Path) -> None:
    image = make_image(tmp_path, make_content())
    result = in_bed("backups", "flash", image, typed="sdc\n", check=DiskError.exit_code)
    assert "sdc, which may be a hard disk" in result.stderr
    result = in_bed("backups", "flash", image, "--disk", "sdc", "--dry-run")
    assert "Portable_SSD" in result.stdout.replace(" ", "_")


@pytest.mark.parametrize("place", [DATA.start, DATA.start + MIB])
def test_what_is_announced_is_what_is_done(tmp_path: Path, place: int) -> None:
    """A label anywhere else on the disk keeps nothing from being lost."""
    image = make_image(tmp_path, make_content())
    result = in_bed(f"labelled-{place}", "flash", image, "--dry-run")
    stays = "which stays: the first start offers it" in result.stdout
    assert stays is (place == DATA.start)
    result = in_bed(f"labelled-{place}", "flash", image, check=UsageError.exit_code)
    assert ("The system on sdb" in result.stdout) is stays
    assert ("Everything on sdb" in result.stdout) is not stays


def test_the_only_stick_is_written(tmp_path: Path) -> None:
    image = make_image(tmp_path, make_content(), packed="xz")
    result = in_bed("stick", "flash", image, typed="sdb\n")
    assert "SanDisk Ultra Fit on USB 2-1" in result.stdout
    assert "sdb holds hearth-1.2.3-arm64.img.xz, checked" in result.stdout
    assert "writing: " in result.stderr
    assert "checking: " in result.stderr


def test_nothing_is_written_before_its_name_is_typed(tmp_path: Path) -> None:
    command = f"flash {make_image(tmp_path, make_content())}"
    typed = ("", "sda", "y", "yes", "sdb sdb")
    result = in_bed(
        "stick", " :: ".join([command] * (len(typed) + 1)),
        typed="".join(f"{line}\n" for line in typed), check=UsageError.exit_code,
    )  # fmt: skip
    assert result.stderr.count("nothing was written") == len(typed) + 1  # and the input's end
    assert "writing" not in result.stderr


def test_another_stick_under_the_same_name(tmp_path: Path) -> None:
    image = make_image(tmp_path, make_content())
    result = in_bed("swapped", "flash", image, check=DiskError.exit_code)
    assert "another disk than a moment ago" in result.stderr


def test_a_stick_that_is_pulled(tmp_path: Path) -> None:
    image = make_image(tmp_path, make_content())
    result = in_bed("pulled", "flash", image, typed="sdb\n", check=DiskGoneError.exit_code)
    assert "sdb was pulled out" in result.stderr
    assert "holds no working system" in result.stderr


def test_a_stick_that_is_put_in_late(tmp_path: Path) -> None:
    image = make_image(tmp_path, make_content())
    result = in_bed("late", "flash", image, "--wait", "30", typed="sdb\n")
    assert "Put the card into the reader" in result.stderr
    assert "sdb holds" in result.stdout


def test_no_stick_at_all(tmp_path: Path) -> None:
    image = make_image(tmp_path, make_content())
    argv = ("flash", image, "--wait", "0.1")
    result = in_bed("watch", *argv, check=DiskError.exit_code)
    assert "no card or stick is plugged in" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the kernel's own events")
def test_the_kernels_events_of_a_disk_that_comes_and_goes() -> None:
    context = pyudev.Context()

    def find() -> bool:
        return Path(f"/sys/class/block/loop{SPARE_LOOP}").exists()

    control = os.open("/dev/loop-control", os.O_RDWR)
    try:
        assert wait_for(context, find, 0.05) is None
        fcntl.ioctl(control, LOOP_CTL_ADD, SPARE_LOOP)
        assert wait_for(context, find, 10)
        with watch_for_removal(context, f"loop{SPARE_LOOP}") as gone:
            fcntl.ioctl(control, LOOP_CTL_REMOVE, SPARE_LOOP)
            assert gone.wait(10)
    finally:
        os.close(control)
