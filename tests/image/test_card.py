"""The card as flashed: partition table, slot state, and what the Pi's firmware reads."""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from pathlib import Path

import pytest

from appliance.layout import (
    BOOTFS,
    IMAGE_SIZE,
    PARTITIONS,
    SECTOR,
    SLOT_A,
    STATE_OFFSETS,
    STATE_SIZE,
)
from appliance.slotstate import ATTEMPTS_PRIMARY, newest, read_copies
from image.conftest import Tool
from imagebuild.bootfs import ENVIRONMENT_CHANGES, ENVIRONMENT_SIZE
from imagebuild.context import Context
from imagebuild.recipe import SOURCE, load_boards

pytestmark = pytest.mark.image

# What each generation's boot ROM and bootloader ask for by name (raspi-firmware's package).
FIRMWARE = {"bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"}
OURS = {"u-boot.bin", "boot.scr", "uboot.env", "config.txt", "cmdline.txt"}


def test_the_table_is_the_layouts(context: Context, run_tool: Tool) -> None:
    table = json.loads(run_tool("sfdisk", "--json", context.raw_image))["partitiontable"]
    assert table["label"] == "dos"
    found = [
        (row["start"] * SECTOR, row["size"] * SECTOR, int(row["type"], 16))
        for row in table["partitions"]
    ]
    assert found == [(p.start, p.size, p.mbr_type) for p in (BOOTFS, SLOT_A)]


def test_the_image_ends_where_the_first_boot_goes_on(context: Context) -> None:
    assert context.raw_image.stat().st_size == IMAGE_SIZE == PARTITIONS[2].start


def test_the_state_starts_slot_a(context: Context) -> None:
    copies = read_copies(context.raw_image)
    state = newest(copies)
    assert state is not None
    assert state.order[0] == "A"
    assert state.left["A"] == ATTEMPTS_PRIMARY
    assert state.left["B"] == 0  # there is no slot B yet
    assert copies.count(None) == 1  # the first write at run time has a copy to go to


def test_the_gap_holds_nothing_else(context: Context) -> None:
    with context.raw_image.open("rb") as file:
        gap = bytearray(os.pread(file.fileno(), BOOTFS.start, 0))
    for offset in STATE_OFFSETS:
        gap[offset : offset + STATE_SIZE] = bytes(STATE_SIZE)
    assert not any(gap[SECTOR:])
    assert not any(gap[:440])  # no boot code: a Pi runs none
    assert gap[510:512] == b"\x55\xaa"


def test_bootfs_is_fat32_and_whole(context: Context, run_tool: Tool, workshop: Path) -> None:
    with context.raw_image.open("rb") as file:
        header = os.pread(file.fileno(), SECTOR, BOOTFS.start)
        target = workshop / "bootfs.img"
        with target.open("wb") as copy:
            copy.write(os.pread(file.fileno(), 32 << 20, BOOTFS.start))
            copy.truncate(BOOTFS.size or 0)
    assert header[82:90] == b"FAT32   "
    assert header[71:82] == b"BOOTFS     "
    file_allocation = run_tool("minfo", "-i", f"{context.raw_image}@@{BOOTFS.start}", "::")
    assert "FAT32" in file_allocation


def test_bootfs_has_all_that_the_firmware_and_uboot_want(bootfs: Path) -> None:
    names = {path.name for path in bootfs.iterdir()}
    assert names >= FIRMWARE | OURS
    assert {f"{board.device_tree}.dtb" for board in load_boards()} <= names
    for name in FIRMWARE | OURS:
        assert (bootfs / name).stat().st_size > 0


def test_only_known_files_are_on_bootfs(bootfs: Path) -> None:
    """Whatever else lies there an owner's phone would show, and the firmware might read."""
    allowed = re.compile(r"(start|fixup).*\.(elf|dat)|bcm2[78].*\.dtb|bootcode\.bin")
    names = {path.name for path in bootfs.iterdir()}
    assert not {name for name in names - OURS if not allowed.fullmatch(name)}


def test_the_firmware_starts_uboot(bootfs: Path) -> None:
    lines = (bootfs / "config.txt").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    assert settings["kernel"] == "u-boot.bin"
    assert settings["arm_64bit"] == "1"
    assert settings["os_check"] == "0"  # or a Pi 5 refuses U-Boot as "not for this board"


def test_the_boot_script_is_the_repositorys(bootfs: Path, run_tool: Tool) -> None:
    assert "AArch64 Linux Script" in run_tool("mkimage", "-l", bootfs / "boot.scr")
    assert script_text(bootfs / "boot.scr") == (SOURCE / "image/boot/boot.cmd").read_bytes()


def script_text(path: Path) -> bytes:
    """The text of a legacy U-Boot script image: 64 bytes header, then lengths, then the text."""
    raw = path.read_bytes()
    magic, _, _, size = struct.unpack(">IIII", raw[:16])
    assert magic == 0x27051956
    data_crc = struct.unpack(">I", raw[24:28])[0]
    assert zlib.crc32(raw[64 : 64 + size]) == data_crc
    length = struct.unpack(">I", raw[64:68])[0]
    return raw[72 : 72 + length]


def read_environment(raw: bytes) -> dict[str, str]:
    assert len(raw) == ENVIRONMENT_SIZE
    assert struct.unpack("<I", raw[:4])[0] == zlib.crc32(raw[4:])
    entries = raw[4:].split(b"\0\0")[0].decode("ascii").split("\0")
    return dict(entry.split("=", 1) for entry in entries)


def compiled_environment(binary: bytes) -> dict[str, str]:
    """The longest run of NUL-ended name=value in the binary: found without the builder's help."""
    runs = re.findall(rb"(?:[\x21-\x3c\x3e-\x7e]+=[\x09\x0a\x20-\x7e]*\0){20,}", binary)
    longest = max(runs, key=len).rstrip(b"\0").decode("ascii")
    return dict(entry.split("=", 1) for entry in longest.split("\0"))


def test_uboots_environment_is_the_binarys_own_but_for_our_changes(bootfs: Path) -> None:
    """A saved environment replaces the compiled one as a whole, so ours must be complete."""
    shipped = read_environment((bootfs / "uboot.env").read_bytes())
    default = compiled_environment((bootfs / "u-boot.bin").read_bytes())
    assert {"bootcmd", "kernel_addr_r", "boot_targets"} <= default.keys()
    changed = {name for name in default.keys() | shipped.keys()
               if default.get(name, "") != shipped.get(name, "")}  # fmt: skip
    assert changed <= ENVIRONMENT_CHANGES.keys()
    assert {name: shipped[name] for name in ENVIRONMENT_CHANGES} == ENVIRONMENT_CHANGES


def test_no_key_stops_the_boot(bootfs: Path) -> None:
    assert read_environment((bootfs / "uboot.env").read_bytes())["bootdelay"] == "-2"
