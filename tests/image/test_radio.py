"""The built-in Wi-Fi of each board: the slot has its files under the names its driver asks for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from image.conftest import Tool
from imagebuild.recipe import Board, load_boards

pytestmark = pytest.mark.image

# The chips of our boards that Debian has firmware for. A Pi 400 has a 43456 and some Zero 2 W a
# 43436, for which Debian has none: these need a cable.
CHIPS = ("43430", "43455")
NO_BOARD_FILE = {"rpi400"}


@pytest.fixture(scope="module")
def wanted(slot: Path) -> set[str]:
    """What the shipped driver says it will ask for (modinfo's ``firmware``)."""
    [driver] = slot.glob("usr/lib/modules/*/kernel/drivers/net/wireless/**/brcmfmac.ko")
    entries = driver.read_bytes().split(b"\0")
    return {entry[9:].decode() for entry in entries if entry.startswith(b"firmware=")}


@pytest.mark.parametrize("chip", CHIPS)
def test_the_driver_finds_its_firmware(slot: Path, wanted: set[str], chip: str) -> None:
    names = {name for name in wanted if re.fullmatch(rf"brcm/brcmfmac{chip}-sdio\.\w+", name)}
    assert {Path(name).suffix for name in names} == {".bin", ".clm_blob"}
    for name in names:
        assert (slot / "usr/lib/firmware" / name).stat().st_size > 1000, name


@pytest.mark.parametrize("board", load_boards(), ids=lambda board: board.name)
def test_the_driver_finds_the_boards_own_file(slot: Path, run_tool: Tool, board: Board) -> None:
    """Without it no radio starts: brcmf_fw_request_nvram_name takes the tree's first name."""
    tree = slot / f"boot/dtb/broadcom/{board.device_tree}.dtb"
    model = run_tool("fdtget", tree, "/", "compatible").split()[0]
    found = [
        path
        for chip in CHIPS
        if (path := slot / f"usr/lib/firmware/brcm/brcmfmac{chip}-sdio.{model}.txt").is_file()
    ]
    assert bool(found) is (board.name not in NO_BOARD_FILE), model


def test_no_link_leads_nowhere(slot: Path) -> None:
    links = [path for path in (slot / "usr/lib/firmware").rglob("*") if path.is_symlink()]
    assert links
    assert [path.name for path in links if not leads_somewhere(slot, path)] == []


def leads_somewhere(slot: Path, path: Path) -> bool:
    """Also by way of /etc/alternatives; the slot is the root of all of them."""
    while path.is_symlink():
        to = path.readlink()
        path = slot / to.relative_to("/") if to.is_absolute() else path.parent / to
    return path.is_file()
