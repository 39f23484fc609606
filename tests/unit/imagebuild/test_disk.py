"""The disk image: a table that sfdisk reads, holes that stay holes, states that boot.scr reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.layout import BOOTFS, IMAGE_SIZE, MIB, SECTOR, SLOT_A
from appliance.slotstate import INITIAL, newest, read_copies, write_next
from imagebuild.disk import assemble_image, render_mbr
from imagebuild.sparse import copy_sparse, write_all


def sfdisk(path: Path) -> dict[str, object]:
    program = shutil.which("sfdisk", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip("sfdisk is not installed (package fdisk)")
    result = subprocess.run([program, "--json", path], check=True, capture_output=True, text=True)
    table: dict[str, object] = json.loads(result.stdout)["partitiontable"]
    return table


def test_sfdisk_reads_the_table(tmp_path: Path) -> None:
    card = tmp_path / "card"
    with card.open("wb") as file:
        file.write(render_mbr([BOOTFS, SLOT_A]))
        file.truncate(IMAGE_SIZE)
    table = sfdisk(card)
    assert table["label"] == "dos"
    assert table["unit"] == "sectors"
    found = [
        (part["start"] * SECTOR, part["size"] * SECTOR, part["type"], part.get("bootable", False))
        for part in table["partitions"]  # type: ignore[attr-defined]
    ]
    assert found == [
        (BOOTFS.start, BOOTFS.size, "c", False),
        (SLOT_A.start, SLOT_A.size, "83", False),
    ]


def test_copying_keeps_holes_and_content(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    pieces = {0: b"start", 3 * MIB + 17: b"middle" * 1000, 40 * MIB - 3: b"end"}
    with source.open("wb") as file:
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)
    with target.open("wb+") as file:
        file.truncate(64 * MIB)
        copy_sparse(source, file.fileno(), 8 * MIB)
        for offset, data in pieces.items():
            assert os.pread(file.fileno(), len(data), 8 * MIB + offset) == data
        whole = os.pread(file.fileno(), 40 * MIB, 8 * MIB)
    assert whole == source.read_bytes()
    assert target.stat().st_blocks * 512 < MIB


def test_copying_a_file_that_is_all_hole(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(5 * MIB)
    with (tmp_path / "target").open("wb+") as file:
        copy_sparse(source, file.fileno(), 0)
        assert os.fstat(file.fileno()).st_blocks == 0


def test_writing_through_a_pipe_fills_the_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        for offset in (2 * MIB, 9 * MIB + 5, 30 * MIB):
            file.seek(offset)
            file.write(b"data" * 700)
        file.truncate(37 * MIB + 11)
    with target.open("wb") as pipe:
        write_all(source, pipe)
    assert target.read_bytes() == source.read_bytes()


def test_an_image_holds_both_file_systems_and_a_state(tmp_path: Path) -> None:
    bootfs, slot, image = tmp_path / "bootfs", tmp_path / "slot", tmp_path / "x.img"
    bootfs.write_bytes(b"B" * 5000)
    slot.write_bytes(b"S" * 5000)
    assemble_image(bootfs, slot, image)
    assert image.stat().st_size == IMAGE_SIZE
    with image.open("rb") as file:
        assert os.pread(file.fileno(), 5001, BOOTFS.start) == b"B" * 5000 + b"\0"
        assert os.pread(file.fileno(), 5001, SLOT_A.start) == b"S" * 5000 + b"\0"
    assert newest(read_copies(image)) == INITIAL
    assert [path.name for path in tmp_path.glob("x.*")] == ["x.img"]
    # The first write at run time must not touch the only valid copy.
    write_next(image, INITIAL)
    assert read_copies(image)[0] == INITIAL
