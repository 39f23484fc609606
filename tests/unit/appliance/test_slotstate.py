"""The two copies of the slot state, judged by U-Boot's own tool and by tearing them."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.layout import STATE_OFFSETS, STATE_SIZE
from appliance.slotstate import (
    INITIAL,
    SlotState,
    newest,
    parse_state,
    read_copies,
    render_state,
    write_next,
)
from imagebuild.context import default_cache
from imagebuild.vm import tool

STATES = (
    INITIAL,
    SlotState(seq=0xABC, order=("B", "A"), left={"A": 7, "B": 3}, committed="A"),
    SlotState(seq=2**31, order=("B",), left={"A": 0, "B": 15}),
)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A card on which nothing was written yet."""
    path = tmp_path / "card"
    with path.open("wb") as file:
        file.truncate(STATE_OFFSETS[-1] + STATE_SIZE)
    return path


def raw_copy(disk: Path, index: int) -> bytes:
    with disk.open("rb") as file:
        return os.pread(file.fileno(), STATE_SIZE, STATE_OFFSETS[index])


def tear(disk: Path, index: int, *, at: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        os.pwrite(file.fileno(), data, STATE_OFFSETS[index] + at)


@pytest.mark.parametrize("state", STATES)
def test_what_is_rendered_parses_to_the_same(state: SlotState) -> None:
    raw = render_state(state)
    assert len(raw) == STATE_SIZE
    assert parse_state(raw) == state


@pytest.mark.parametrize("state", STATES)
def test_uboots_own_tool_makes_the_same_bytes(state: SlotState, tmp_path: Path) -> None:
    """mkenvimage writes what `env import -c` reads; order of the lines is ours."""
    tools = default_cache() / "tools"
    if shutil.which("mkenvimage"):
        prefix = ["mkenvimage"]
    elif (tools / "usr/bin/mkenvimage").exists():
        prefix = tool(tools, "mkenvimage")
    else:
        pytest.skip("no mkenvimage: u-boot-tools is not installed and no tools tree was made")
    raw = render_state(state)
    text = raw[4:].rstrip(b"\0").replace(b"\0", b"\n") + b"\n"
    (tmp_path / "in").write_bytes(text)
    subprocess.run(
        [*prefix, "-s", str(STATE_SIZE), "-p", "0", "-o", tmp_path / "out", tmp_path / "in"],
        check=True,
    )
    assert (tmp_path / "out").read_bytes() == raw


@pytest.mark.parametrize("at", [0, 3, 4, 20, STATE_SIZE - 1])
def test_one_flipped_byte_makes_a_copy_invalid(at: int) -> None:
    raw = bytearray(render_state(INITIAL))
    raw[at] ^= 0x40
    assert parse_state(bytes(raw)) is None


@pytest.mark.parametrize("raw", [b"", bytes(STATE_SIZE), b"\xff" * STATE_SIZE, bytes(100)])
def test_garbage_is_no_state(raw: bytes) -> None:
    assert parse_state(raw) is None


def test_a_valid_checksum_over_missing_names_is_no_state() -> None:
    text = b"BOOT_SEQ=1\0".ljust(STATE_SIZE - 4, b"\0")
    crc = zlib.crc32(text).to_bytes(4, "little")
    assert parse_state(crc + text) is None


def test_the_newer_valid_copy_counts() -> None:
    old, new = replace(INITIAL, seq=0xF), replace(INITIAL, seq=0x10)
    assert newest((old, new)) == new
    assert newest((new, old)) == new
    assert newest((None, old)) == old
    assert newest((None, None)) is None


def test_writing_goes_round_and_never_touches_the_newer_copy(disk: Path) -> None:
    write_next(disk, INITIAL)
    for _ in range(6):
        copies = read_copies(disk)
        newer = copies.index(newest(copies))
        before = raw_copy(disk, newer)
        written = write_next(disk, replace(INITIAL, left={"A": 3, "B": 2}))
        assert raw_copy(disk, newer) == before
        assert newest(read_copies(disk)) == written
    assert None not in read_copies(disk)


@pytest.mark.parametrize("written_bytes", [1, 5, 100, 511, 512, 4095])
def test_a_torn_write_leaves_the_state_before_it(disk: Path, written_bytes: int) -> None:
    """Power fails after ``written_bytes`` of the new copy: boot.scr must see the old state."""
    write_next(disk, INITIAL)
    write_next(disk, INITIAL)
    before = newest(read_copies(disk))
    assert before is not None
    older = read_copies(disk).index(min(filter(None, read_copies(disk)), key=lambda c: c.seq))
    new = render_state(replace(before, seq=before.seq + 1, left={"A": 1, "B": 9}))
    tear(disk, older, at=0, data=new[:written_bytes])
    found = newest(read_copies(disk))
    assert found == before or found == parse_state(new)
    assert write_next(disk, before).seq == found.seq + 1


def test_a_torn_copy_is_the_one_that_is_written_next(disk: Path) -> None:
    write_next(disk, INITIAL)
    write_next(disk, INITIAL)
    tear(disk, 0, at=8, data=b"torn")
    survivor = raw_copy(disk, 1)
    write_next(disk, INITIAL)
    assert raw_copy(disk, 1) == survivor
    assert None not in read_copies(disk)
