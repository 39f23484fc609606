"""The tables that save RAUC from reading both slots whole."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from appliance.layout import MIB, SLOT_A, SLOT_B
from appliance.paths import Paths
from appliance.run import run
from services.slots import booted_disk
from services.update.hashindex import (
    BLOCK,
    DIGEST,
    FLASHED,
    NAME,
    NOTHING,
    STATUS,
    UNKNOWN,
    note_flashed,
    prepare_indexes,
)
from unit.services.update.bench import make_bench

SIZE = 8 * MIB + BLOCK


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Slot A holds a file system, as flashed."""
    slot = tmp_path / "slot.ext4"
    with slot.open("wb") as file:
        file.truncate(SIZE)
    run(["mke2fs", "-q", "-t", "ext4", "-b", str(BLOCK), slot])
    made = make_bench(tmp_path, monkeypatch).paths
    with booted_disk(made).open("r+b") as disk:
        os.pwrite(disk.fileno(), slot.read_bytes(), SLOT_A.start)
    return made


def index(paths: Paths, number: int, name: str = FLASHED) -> Path:
    return paths.data / f"system/rauc/slot.rootfs.{number}" / name / NAME


def begin(paths: Paths) -> Path:
    """As RAUC, when it begins to write a slot (src/slot.c, r_slot_move_checksum_data_directory)."""
    table = index(paths, 1, UNKNOWN)
    index(paths, 1).parent.rename(table.parent)
    return table


def test_a_flashed_slot_is_read_as_far_as_its_file_system(paths: Paths) -> None:
    prepare_indexes(paths, "A", "B")
    table = index(paths, 0).read_bytes()
    with booted_disk(paths).open("rb") as disk:
        content = os.pread(disk.fileno(), SIZE, SLOT_A.start)
    assert len(table) == SIZE // BLOCK * 32
    for number in (0, 7, 1024, SIZE // BLOCK - 1):
        block = content[number * BLOCK : (number + 1) * BLOCK]
        assert table[number * 32 : (number + 1) * 32] == hashlib.sha256(block).digest()
    assert index(paths, 1).read_bytes() == NOTHING


def test_an_attempt_that_wrote_nothing_changes_nothing(paths: Paths) -> None:
    for _attempt in range(2):
        prepare_indexes(paths, "A", "B")
        assert index(paths, 1).read_bytes() == NOTHING
    table = begin(paths)
    prepare_indexes(paths, "A", "B")
    assert table.read_bytes() == NOTHING


def test_what_a_failed_installation_wrote_is_looked_at(paths: Paths) -> None:
    prepare_indexes(paths, "A", "B")
    table = begin(paths)
    with booted_disk(paths).open("r+b") as disk:
        os.pwrite(disk.fileno(), b"\x53\xef", SLOT_B.start + 1080)
    for _attempt in range(2):
        prepare_indexes(paths, "A", "B")
        assert not table.exists()
        assert not index(paths, 1).exists()
    assert index(paths, 0).exists()


OLDER = """[slot.rootfs.0]
status=ok
sha256=0123
size=700

[slot.rootfs.1]
activated.timestamp=2026-11-23T12:00:00Z
"""


def test_a_digest_for_what_rauc_never_wrote(paths: Paths) -> None:
    file = paths.data / "system/rauc" / STATUS
    for text, known in (("", ()), (OLDER, ("sha256=0123", "activated.timestamp=2026-11"))):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        note_flashed(paths)
        written = file.read_text()
        assert written.count(f"sha256={DIGEST}") == 2 - written.count("status=ok")
        assert all(words in written for words in known)
        before = file.stat()
        note_flashed(paths)
        assert file.stat() == before


@pytest.mark.parametrize("text", ["no key file", "[slot.rootfs.1]\nstatus=pending\n"])
def test_what_is_broken_or_going_on_is_left_to_rauc(paths: Paths, text: str) -> None:
    file = paths.data / "system/rauc" / STATUS
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    note_flashed(paths)
    assert file.read_text().count(DIGEST) == text.count("pending")
    assert text.strip() in file.read_text()


def test_a_table_of_raucs_own_is_left_alone(paths: Paths) -> None:
    for number in (0, 1):
        own = index(paths, number, "hash-0123")
        own.parent.mkdir(parents=True)
        own.write_bytes(b"RAUC's")
    prepare_indexes(paths, "A", "B")
    assert not index(paths, 0).exists()
    assert not index(paths, 1).exists()


def test_without_a_file_system_rauc_reads_all_by_itself(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    with booted_disk(paths).open("r+b") as disk:
        os.pwrite(disk.fileno(), bytes(BLOCK), SLOT_A.start)
    prepare_indexes(paths, "A", "B")
    assert not index(paths, 0).exists()
    assert "no file system" in caplog.text
