"""The disk image: a table that sfdisk reads, holes that stay holes, states that boot.scr reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.errors import ImageError
from appliance.layout import BOOTFS, IMAGE_SIZE, MIB, SECTOR, SLOT_A
from appliance.slotstate import INITIAL, newest, read_copies, write_next
from imagebuild.disk import (
    SLOT_INODES,
    Entry,
    assemble_image,
    in_slot_order,
    parse_listing,
    render_mbr,
    slot_size,
)
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


def listing(directory: Path) -> list[Entry]:
    """As make_slot asks for it."""
    argv = ["find", directory, "-mindepth", "1", "-printf", r"%y %i %s %P\0"]
    return parse_listing(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def test_a_slot_is_large_enough_for_its_files(tmp_path: Path) -> None:
    """mke2fs itself says whether it is: with many small files, long links and hard links."""
    program = shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip("mke2fs is not installed (package e2fsprogs)")
    tree = tmp_path / "tree"
    for number in range(400):
        directory = tree / f"{number % 40}" / f"{number}"
        directory.mkdir(parents=True)
        (directory / "small").write_bytes(b"x")
        (directory / "link").symlink_to("y" * (40 + number % 40))
        (directory / "same").hardlink_to(directory / "small")
    with (tree / "large").open("wb") as file:
        file.write(os.urandom(200 * MIB))
    size = slot_size(listing(tree))
    image = tmp_path / "image"
    subprocess.run(
        [program, "-q", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-b", "4096", "-m", "0",
         "-N", str(SLOT_INODES), "-d", tree, image, f"{size // 1024}k"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert image.stat().st_size == size
    assert 200 * MIB < size < 420 * MIB


def test_hard_links_and_short_links_take_no_room() -> None:
    once = [Entry("f", "7", 134217728, "a"), Entry("d", "2", 4096, "b")]
    assert slot_size([*once, *once[:1] * 50, Entry("l", "8", 20, "c")]) == slot_size(once)


@pytest.mark.parametrize("sizes", [(3221225472,), (2900000000, 300000000)])
def test_a_root_that_no_slot_can_hold_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="too many for a slot"):
        slot_size([Entry("f", f"{size}", size, "x") for size in sizes])


def test_too_many_files_are_refused() -> None:
    with pytest.raises(ImageError, match="60000 files"):
        slot_size([Entry("f", f"{inode}", 1, "x") for inode in range(60_000)])


def test_directories_come_first_and_strange_names_survive(tmp_path: Path) -> None:
    names = ["b/file", "a/with space", "a/line\nbreak", "zz", "b/c/über"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    ordered = in_slot_order(listing(tmp_path))
    assert [row.path for row in ordered[:3]] == ["a", "b", "b/c"]
    assert [row.path for row in ordered[3:]] == sorted(names)
    assert all(row.kind == "f" and row.size == 1 for row in ordered[3:])


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
