"""The reader of recorded writes, on logs laid out by the kernel's description of the format."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from vm.logwrites import Cut, Entry, Flag, LogError, Replay, last_flush, losses, parse_log

MAGIC = 0x6A736677736872
FLUSH, DISCARD = 1, 4
SECTOR = 512
CARD = 64 * SECTOR


def request(first: int, flags: int = 0, data: bytes = b"", *, count: int = 0) -> bytes:
    head = struct.pack("<QQQQ", first, count or len(data) // SECTOR, flags, 0)
    return head.ljust(SECTOR, b"\0") + data


def make_log(path: Path, *requests: bytes, count: int | None = None, magic: int = MAGIC) -> Path:
    number = len(requests) if count is None else count
    head = struct.pack("<QQQI", magic, 1, number, SECTOR).ljust(SECTOR, b"\0")
    path.write_bytes(head + b"".join(requests))
    return path


def sectors(*letters: bytes) -> bytes:
    return b"".join(letter * SECTOR for letter in letters)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return make_log(
        tmp_path / "log",
        request(2, data=sectors(b"a", b"b")),
        request(0, FLUSH),
        request(3, data=sectors(b"c", b"d", b"e")),
        request(2, DISCARD, count=2),
        request(0, FLUSH),
    )


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card"
    with path.open("wb") as file:
        file.truncate(CARD)
    return path


def replayed(log: Path, card: Path, entries: tuple[Entry, ...]) -> bytes:
    with Replay(log, card) as replay:
        for entry in entries:
            replay.apply(entry)
    return card.read_bytes()


def test_requests_are_read_in_order(log: Path) -> None:
    entries = parse_log(log)
    assert [(entry.at, entry.size, entry.flags) for entry in entries] == [
        (1024, 1024, Flag(0)),
        (0, 0, Flag.FLUSH),
        (1536, 1536, Flag(0)),
        (1024, 1024, Flag.DISCARD),
        (0, 0, Flag.FLUSH),
    ]
    assert [entry.is_write for entry in entries] == [True, False, True, False, False]


def test_requests_after_the_last_counted_one_do_not_count(tmp_path: Path) -> None:
    requests = [request(0, FLUSH), request(1, data=sectors(b"x"))]
    assert len(parse_log(make_log(tmp_path / "log", *requests, count=1))) == 1


def test_a_replay_gives_what_was_written(log: Path, card: Path) -> None:
    assert replayed(log, card, parse_log(log)) == sectors(
        b"\0", b"\0", b"\0", b"\0", b"d", b"e"
    ).ljust(CARD, b"\0")


def test_a_torn_write_leaves_its_other_sectors(log: Path, card: Path) -> None:
    first, _, second, *_ = parse_log(log)
    with Replay(log, card) as replay:
        replay.apply(first)
        replay.apply(second, [0, 2])
    assert card.read_bytes()[1024:3072] == sectors(b"a", b"c", b"\0", b"e")


def test_zeros_are_written_over_data_and_do_not_fill_holes(tmp_path: Path, card: Path) -> None:
    log = make_log(tmp_path / "log", request(0, data=bytes(CARD)))
    replayed(log, card, parse_log(log))
    assert card.stat().st_blocks == 0
    card.write_bytes(b"x" * CARD)
    assert replayed(log, card, parse_log(log)) == bytes(CARD)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "too short"),
        (bytes(SECTOR), "superblock"),
        (struct.pack("<QQQI", MAGIC, 2, 0, SECTOR), "superblock"),
        (struct.pack("<QQQI", MAGIC, 1, 0, 100), "superblock"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(LogError, match=says):
        parse_log(path)


@pytest.mark.parametrize(
    ("requests", "says"),
    [
        ([request(0, 64)], "unknown flags"),
        ([], "ends before entry 0"),
        ([request(0, data=sectors(b"x", b"y"))[:-1]], "ends within entry 0"),
    ],
)
def test_broken_logs_are_refused(tmp_path: Path, requests: list[bytes], says: str) -> None:
    with pytest.raises(LogError, match=says):
        parse_log(make_log(tmp_path / "log", *requests, count=1))


@pytest.mark.parametrize(("position", "flushed"), [(0, 0), (1, 0), (2, 2), (4, 2), (5, 5)])
def test_what_a_flush_keeps(log: Path, position: int, flushed: int) -> None:
    assert last_flush(parse_log(log), position) == flushed


def test_losses_repeat_with_their_seed_and_tear_the_last_write(log: Path) -> None:
    pending = parse_log(log)[2:3]
    whole = list(losses(Cut(position=3, seed=None), pending))
    assert whole == [(pending[0], None)]
    seen = set()
    for number in range(100):
        cut = Cut(position=3, seed=f"7-{number}")
        ((entry, kept),) = losses(cut, pending)
        assert [(entry, kept)] == list(losses(cut, pending))
        assert kept is not None
        seen.add(tuple(kept))
    # Every subset of three sectors is possible, and each was met.
    assert len(seen) == 8
