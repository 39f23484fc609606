"""boot.scr under the U-Boot of QEMU's virt, on a card without a slot: the choice and the count.

No kernel is loaded, so this takes seconds. The unit tests run the same script under sh.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.layout import BOOTFS, MIB, STATE_OFFSETS
from appliance.run import end, run, spawn
from appliance.slotstate import SlotState, newest, read_copies, render_state
from imagebuild.disk import render_mbr
from imagebuild.vm import tool

pytestmark = pytest.mark.vm

SOURCE = Path(__file__).parents[2]
SECONDS = 120.0
# Only what boot.scr takes of the 512 MiB: QEMU needs not see the rest of the file system's zeros.
FAT_BYTES = 64 * MIB


@pytest.fixture
def card(tools: Path, tmp_path: Path) -> Path:
    script, fat, made = tmp_path / "boot.scr", tmp_path / "fat", tmp_path / "card"
    arguments = ["-A", "arm64", "-T", "script", "-C", "none", "-d", SOURCE / "image/boot/boot.cmd"]
    run([*tool(tools, "mkimage"), *arguments, script])
    with fat.open("wb") as file:
        file.truncate(BOOTFS.size or 0)
    run([*tool(tools, "mkfs.vfat"), "-F", "32", fat])
    run([*tool(tools, "mcopy"), "-i", fat, script, "::/"])
    with made.open("wb") as file, fat.open("rb") as source:
        file.truncate(1024 * MIB)
        file.write(render_mbr([BOOTFS]))
        file.seek(BOOTFS.start)
        file.write(source.read(FAT_BYTES))
    return made


def put(card: Path, *copies: SlotState | None) -> None:
    with card.open("r+b") as file:
        for offset, state in zip(STATE_OFFSETS, copies, strict=True):
            file.seek(offset)
            file.write(render_state(state) if state else b"torn".ljust(4096, b"\xff"))


def said(tools: Path, card: Path, starts: int) -> list[str]:
    """What boot.scr says of its first starts; each ends in a reset for want of a slot."""
    argv = [
        *tool(tools, "qemu-system-aarch64"), "-L", f"{tools}/usr/share/qemu",
        "-M", "virt", "-cpu", "cortex-a53", "-m", "512", "-nographic", "-net", "none",
        "-bios", f"{tools}/usr/lib/u-boot/qemu_arm64/u-boot.bin",
        "-drive", f"file={card},format=raw,if=none,id=card",
        "-device", "virtio-blk-pci,drive=card,romfile=",
    ]  # fmt: skip
    log = card.with_name("serial")
    with log.open("w") as output:
        machine = spawn(argv, output=output)
        try:
            until = time.monotonic() + SECONDS
            while len(lines := find_starts(log)) < starts:
                assert time.monotonic() < until, log.read_text(errors="replace")
                time.sleep(0.2)
        finally:
            end(machine)
    return lines[:starts]


def find_starts(log: Path) -> list[str]:
    lines = log.read_text(errors="replace").splitlines()
    return [line.strip() for line in lines if "hearth: slot" in line and "attempts" in line]


def test_attempts_run_out_and_the_committed_slot_is_the_last_resort(
    tools: Path, card: Path
) -> None:
    """B was committed, then A was tried: B it is, although the order says A."""
    state = SlotState(seq=0xF, order=("A", "B"), left={"A": 1, "B": 1}, committed="B")
    put(card, state, None)
    assert said(tools, card, 4) == [
        "hearth: slot A, attempts left A 0 B 1, state 10",
        "hearth: slot B, attempts left A 0 B 0, state 11",
        "hearth: slot B, attempts left A 0 B 0, state 11",
        "hearth: slot B, attempts left A 0 B 0, state 11",
    ]
    found = newest(read_copies(card))
    assert found is not None
    assert (found.seq, found.committed, found.left) == (0x11, "B", {"A": 0, "B": 0})


def test_without_a_valid_copy_nobody_is_committed(tools: Path, card: Path) -> None:
    put(card, None, None)
    assert said(tools, card, 1) == ["hearth: slot A, attempts left A 2 B 3, state 1"]
    found = newest(read_copies(card))
    assert found is not None
    assert (found.order, found.committed) == (("A", "B"), "")
