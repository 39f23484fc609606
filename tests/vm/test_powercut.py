"""Power cuts during the first boot: its writes are recorded, replayed in part, and judged.

Killing QEMU would prove little, since the host has every write in order. Here writes since the last
flush are lost at random and torn between sectors. HEARTH_SEED repeats a run's choice of losses (on
the recording that build/vm-tests/powercut keeps). Not covered, because unknown: what a worn card
does to sectors that nobody wrote.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.layout import BOOTFS, DATA, SLOT_A, STATE_OFFSETS, STATE_SIZE
from imagebuild.context import Context
from imagebuild.vm import CARD_SIZE, make_card
from unit.services.card import copy_card, first_sector
from vm.guest import Guest, make_directory
from vm.logwrites import Cut, Entry, Replay, last_flush, losses, make_cuts, parse_log
from vm.powercut import (
    Files,
    Judge,
    UnsoundError,
    Verdict,
    age_journal_block,
    copy_region,
    data_ranges,
    journal_place,
    read_bootfs,
)

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

CUTS, CUTS_LONG = 130, 400
BOOTED, BOOTED_LONG = 1, 3
BLOCK = 4096  # the kernel writes whole pages of a block device
JOURNAL_END = 64 * 1024 * 1024
CANARY = "system/canary"


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A first boot: the card as flashed, and everything that was written to it."""

    directory: Path
    flashed: Path
    log: Path
    entries: tuple[Entry, ...]

    def replay(self, card: Path, entries: Sequence[Entry]) -> None:
        with Replay(self.log, card) as replay:
            for entry in entries:
                replay.apply(entry)

    def lose(self, card: Path, cut: Cut) -> None:
        """From the card as of the cut's last flush to the card as of the cut."""
        pending = self.entries[last_flush(self.entries, cut.position) : cut.position]
        with Replay(self.log, card) as replay:
            for entry, sectors in losses(cut, pending):
                replay.apply(entry, sectors)


@pytest.fixture(scope="module")
def recording(context: Context) -> Recording:
    """From power-on until the wizard answers and a file was written and synced."""
    directory = make_directory(context, "powercut")
    log = directory / "writes.log"
    log.touch()
    guest = Guest(context, directory, write_log=log)
    guest.flash(preseed="# no claim code: one is made, and written to bootfs\n")
    guest.start()
    try:
        guest.wait_for_pages()
        guest.wait_for_ssh()
        guest.ssh("sh", "-c", f"echo kept > /data/{CANARY} && sync")
    finally:
        guest.stop()
    return Recording(
        directory=directory,
        flashed=directory / "flashed.img",
        log=log,
        entries=parse_log(log),
    )


@pytest.fixture(scope="module")
def blank(recording: Recording) -> Path:
    """The flashed card without slot A, which no boot writes: small enough for many copies."""
    card = recording.directory / "blank.img"
    copy_region(recording.flashed, card, start=0, end=SLOT_A.start)
    os.truncate(card, CARD_SIZE)
    return card


@pytest.fixture(scope="module")
def final(recording: Recording, blank: Path) -> Path:
    """The card after all of the recording."""
    card = copy_card(blank, recording.directory / "final.img")
    recording.replay(card, recording.entries)
    return card


@pytest.fixture(scope="module")
def judge(context: Context, recording: Recording, blank: Path, final: Path) -> Judge:
    tools = context.tools.resolve()
    firmware = read_bootfs(tools, blank, recording.directory)
    assert {"boot.scr", "u-boot.bin", "start4.elf"} <= set(firmware)
    return Judge(
        tools=tools,
        work=recording.directory,
        tables=(first_sector(blank), first_sector(final)),
        firmware=firmware,
        sound_bootfs=set(),
    )


@pytest.fixture(scope="module")
def used(context: Context, recording: Recording, blank: Path, final: Path) -> Path:
    """The flashed card had carried an earlier Hearth: its journal lies where ours will."""
    card = copy_card(blank, recording.directory / "used.img")
    data = recording.directory / "old.img"
    copy_region(final, data, start=DATA.start, end=CARD_SIZE)
    start = journal_place(context.tools.resolve(), data)
    with data.open("rb") as source, card.open("r+b") as target:
        for first, stop in data_ranges(source.fileno(), start + BLOCK, start + JOURNAL_END):
            for at in range(first, stop, BLOCK):
                block = age_journal_block(os.pread(source.fileno(), BLOCK, at))
                os.pwrite(target.fileno(), block, DATA.start + at)
    return card


@pytest.fixture(scope="module")
def seed() -> str:
    return os.environ.get("HEARTH_SEED") or str(random.SystemRandom().getrandbits(32))


# ---- what the first boot writes -----------------------------------------------------------------


def test_no_slot_and_no_gap_is_written(recording: Recording) -> None:
    places = [
        (0, BLOCK),
        *((at, at + STATE_SIZE) for at in STATE_OFFSETS),
        (BOOTFS.start, SLOT_A.start),
        (DATA.start, CARD_SIZE),
    ]
    strays = [
        entry
        for entry in recording.entries
        if entry.size
        and not any(low <= entry.at and entry.at + entry.size <= high for low, high in places)
    ]
    assert strays == []


def test_the_table_changes_once_and_in_one_sector(recording: Recording, blank: Path) -> None:
    writes = [entry for entry in recording.entries if entry.size and entry.at == 0]
    assert len(writes) == 1
    with blank.open("rb") as card, recording.log.open("rb") as log:
        log.seek(writes[0].data_at)
        old, new = card.read(writes[0].size), log.read(writes[0].size)
    assert old[:512] != new[:512]
    assert old[512:] == new[512:]


# ---- cuts ---------------------------------------------------------------------------------------


def judge_all(
    recording: Recording, judge: Judge, flashed: Path, cuts: Sequence[Cut]
) -> Iterator[tuple[Cut, Verdict | UnsoundError]]:
    """Replays forward on one card; each cut spoils a copy of it."""
    done, flushed = 0, copy_card(flashed, recording.directory / "flushed.img")
    for cut in cuts:
        to = last_flush(recording.entries, cut.position)
        recording.replay(flushed, recording.entries[done:to])
        done = to
        card = copy_card(flushed, recording.directory / "cut.img")
        recording.lose(card, cut)
        try:
            yield cut, judge.judge(card)
        except UnsoundError as error:
            yield cut, error
        finally:
            card.unlink()
    flushed.unlink()


def missing_files(found: Files, durable: Files, last: Files) -> list[str]:
    """What was on the card for good, was never changed again, and is not there."""
    lasting = {path: digest for path, digest in durable.items() if last.get(path) == digest}
    return [path for path, digest in lasting.items() if found.get(path) != digest]


def test_every_cut_leaves_a_card_that_starts(
    recording: Recording,
    judge: Judge,
    used: Path,
    final: Path,
    seed: str,
    pytestconfig: pytest.Config,
) -> None:
    count = CUTS_LONG if pytestconfig.getoption("--long") else CUTS
    cuts = make_cuts(recording.entries, count, seed)
    print(f"{len(cuts)} cuts in {len(recording.entries)} writes, HEARTH_SEED={seed}")
    last = judge.judge(copy_card(final, recording.directory / "last.img")).files
    assert CANARY in last
    durable: Files = {}
    failures = []
    for cut, verdict in judge_all(recording, judge, used, cuts):
        if isinstance(verdict, UnsoundError):
            failures.append(f"{cut}: {verdict}")
            continue
        if gone := missing_files(verdict.files, durable, last):
            failures.append(f"{cut}: lost {gone}")
        if cut.seed is None and verdict.kept:
            durable = verdict.files
    assert not failures, f"{len(failures)} of {len(cuts)} cuts:\n" + "\n".join(failures[:20])
    assert "system/machine-id" in durable
    assert CANARY in durable


def test_a_wrong_order_of_writes_would_be_seen(
    recording: Recording, judge: Judge, blank: Path
) -> None:
    """The table before the file system: what firstboot.storage takes care never to do."""
    entries = recording.entries
    table = next(number for number, entry in enumerate(entries) if entry.size and entry.at == 0)
    head = [entry for entry in entries[:table] if entry.at < DATA.start]
    card = copy_card(blank, recording.directory / "wrong.img")
    recording.replay(card, [*head, entries[table]])
    with pytest.raises(UnsoundError, match="damaged"):
        judge.judge(card)


@pytest.mark.parametrize("arrived", [[0, 1, 2], [3, 4, 5, 6, 7]], ids=["first", "second"])
def test_a_torn_superblock_loses_nothing(
    recording: Recording, judge: Judge, used: Path, arrived: list[int]
) -> None:
    """One sector of it is old and one is new, in the last write of it in use."""
    writes = enumerate(recording.entries)
    *_, (number, torn) = (
        (number, entry) for number, entry in writes if (entry.at, entry.size) == (DATA.start, BLOCK)
    )
    card = copy_card(used, recording.directory / "torn.img")
    recording.replay(card, recording.entries[:number])
    files = judge.judge(copy_card(card, recording.directory / "whole.img")).files
    with Replay(recording.log, card) as replay:
        replay.apply(torn, arrived)
    verdict = judge.judge(card)
    assert verdict.kept
    assert verdict.files.items() >= files.items()


def test_some_of_them_boot(
    recording: Recording,
    context: Context,
    seed: str,
    pytestconfig: pytest.Config,
) -> None:
    """For real: QEMU, U-Boot, the initramfs, the wizard."""
    entries = recording.entries
    table = next(number for number, entry in enumerate(entries) if entry.size and entry.at == 0)
    # The moments that matter most: the table is new but the label is old, then anywhere.
    dice = random.Random(seed)
    positions = [table + 2, dice.randrange(2, table), dice.randrange(table + 3, len(entries))]
    count = BOOTED_LONG if pytestconfig.getoption("--long") else BOOTED
    for position in positions[:count]:
        cut = Cut(position=position, seed=f"{seed}-boot")
        print(f"booting after a {cut}")
        boot(recording, context, cut)


def boot(recording: Recording, context: Context, cut: Cut) -> None:
    directory = recording.directory / f"boot-{cut.position}"
    guest = Guest(context, directory)
    directory.mkdir()
    for name in ("id_ed25519", "id_ed25519.pub"):
        shutil.copy2(recording.directory / name, directory / name)
    image = copy_card(recording.flashed, directory / "cut.img")
    os.truncate(image, CARD_SIZE)
    recording.replay(image, recording.entries[: last_flush(recording.entries, cut.position)])
    recording.lose(image, cut)
    make_card(context.tools.resolve(), image, guest.card)
    guest.start()
    try:
        guest.wait_for_pages()
        guest.wait_for_ssh()
        assert "data=ok" in guest.ssh("cat", "/run/hearth/boot").splitlines()
        assert guest.ssh("systemctl", "--failed", "--no-legend").strip() == ""
    finally:
        guest.stop()
