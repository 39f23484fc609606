"""Power cuts in an update: which slot starts next, and whether the data agree with that."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.errors import CommandError
from appliance.layout import BOOTFS, DATA, SLOT_B
from appliance.paths import Paths
from appliance.run import run
from appliance.slotstate import SlotState, newest, read_copies, write_next
from appliance.update import Outcome, Result, Stage
from firstboot.settle import settle
from imagebuild.vm import CARD_SIZE, tool
from services.update.state import load_history, load_update
from unit.services.card import copy_card
from vm.logwrites import Cut, last_flush, make_cuts
from vm.powercut import Init, UnsoundError, check_clean
from vm.recorded import Piece, Recorded, is_within

UPDATE = "/hearth/update"
PRECIOUS = ("/hearth/settings.toml", "/hearth/secrets.toml", "/system/machine-id")


@dataclass(frozen=True)
class Cards:
    """The two pieces of the card that matter, as of the last flush before a cut."""

    recorded: Recorded
    tools: Path
    work: Path

    def pieces(self, name: str) -> tuple[Piece, Piece]:
        """What lies before the first partition, and the data partition."""
        return (
            Piece(file=self.work / f"{name}-head.img", start=0, end=BOOTFS.start),
            Piece(file=self.work / f"{name}-data.img", start=DATA.start, end=CARD_SIZE),
        )

    def each(self, cuts: Sequence[Cut]) -> Iterator[tuple[Cut, tuple[Piece, Piece]]]:
        """The pieces after each cut, to be spoiled; by position, forward on one pair of files."""
        flushed, done = self.pieces("flushed"), 0
        for piece in flushed:
            with piece.file.open("wb") as file:
                file.truncate(piece.end - piece.start)
        for cut in cuts:
            to = last_flush(self.recorded.entries, cut.position)
            self.recorded.replay(flushed, done, to)
            done = to
            after = self.pieces("cut")
            for source, target in zip(flushed, after, strict=True):
                copy_card(source.file, target.file)
            self.recorded.lose(after, cut)
            yield cut, after


def choose_cuts(recorded: Recorded, count: int, seed: str) -> list[Cut]:
    """A third around the slot state's few changes, on which all hangs; the rest anywhere."""
    dice = random.Random(seed)
    entries, begin = recorded.entries, recorded.begin
    near = [
        Cut(position=position, seed=f"{seed}-near-{round}")
        for round in range(count)
        for number, _ in recorded.states
        for position in (number, number + 1, number + 2)
        if position <= len(entries)
    ][: count // 3]
    anywhere = [cut for cut in make_cuts(entries, 2 * count, seed) if cut.position >= begin]
    chosen = [*near, *dice.sample(anywhere, min(len(anywhere), count - len(near)))]
    return sorted(chosen, key=lambda cut: cut.position)


@dataclass(frozen=True)
class Judge:
    cards: Cards
    new: str

    def judge(self, cut: Cut, pieces: tuple[Piece, Piece]) -> str:
        """The slot that starts, and what settling would make of it. Raises UnsoundError."""
        head, data = (piece.file for piece in pieces)
        state = newest(read_copies(head))
        if state is None:
            raise UnsoundError("neither copy of the slot state is valid")
        slot = starts(state)
        if slot == "B":
            self._check_slot_b(cut)
        init = Init(tools=self.cards.tools, work=self.cards.work)
        if init.label(data) != DATA.label:
            raise UnsoundError("the data partition has lost its label")
        init.repair(data)
        check_clean(self.cards.tools, data)
        for path in PRECIOUS:
            if not self._read(data, path):
                raise UnsoundError(f"{path} is lost")
        return self._go_on(slot, state, head, data)

    def _check_slot_b(self, cut: Cut) -> None:
        entries = self.cards.recorded.entries
        lost = entries[last_flush(entries, cut.position) :]
        if any(is_within(entry, SLOT_B) for entry in lost):
            raise UnsoundError("slot B would start, and not all of it is written")

    def _go_on(self, slot: str, state: SlotState, head: Path, data: Path) -> str:
        """As boot.scr and the start after it: count the attempt, settle; what came of it."""
        paths = self._paths(slot, head, data)
        write_next(head, replace(state, left={**state.left, slot: state.left[slot] - 1}))
        before = load_update(paths)
        said = f"slot {slot} starts ({state}), and the record says {before.stage} {before.version}"
        found = settle(paths, reboot=lambda: None)
        after = load_update(paths)
        history = [one for one in load_history(paths) if one.result is not Result.NOT_INSTALLED]
        if slot == "B" and state.committed == "A" and after.stage is not Stage.TRIAL:
            raise UnsoundError(f"a version is tried that nobody watches: {said}")
        if slot == "A" and (after.stage is Stage.TRIAL or history):
            raise UnsoundError(f"a power cut is taken for a verdict: {said}, {history}")
        if state.committed == "B" and not self._is_kept(history):
            raise UnsoundError(f"a committed version that is on record nowhere: {said}")
        return f"slot {slot}, {before.stage}, settled: {found.value}"

    def _paths(self, slot: str, head: Path, data: Path) -> Paths:
        """What settling reads, below a root of its own."""
        paths = Paths(root=self.cards.work / "root")
        shutil.rmtree(paths.root, ignore_errors=True)
        for directory in (paths.hearth, paths.root / "proc", paths.boot_report.parent):
            directory.mkdir(parents=True)
        dump = f"rdump {UPDATE} {paths.hearth}"
        run([*tool(self.cards.tools, "debugfs"), "-R", dump, data])
        (paths.root / "proc/cmdline").write_text(f"rauc.slot={slot}\n")
        paths.boot_report.write_text(f"slot={slot}\ndisk={head}\ndata=ok\n")
        return paths

    def _is_kept(self, history: Sequence[Outcome]) -> bool:
        return any((one.result, one.version) == (Result.COMMITTED, self.new) for one in history)

    def _read(self, data: Path, path: str) -> str:
        try:
            return run([*tool(self.cards.tools, "debugfs"), "-R", f"cat {path}", data]).stdout
        except CommandError as error:
            raise UnsoundError(f"{path} cannot be read: {error.message}") from error


def starts(state: SlotState) -> str:
    """boot.cmd's decision. Raises UnsoundError for rescue mode: nothing was ever found bad."""
    able = [name for name in state.order if state.left.get(name, 0) > 0]
    if not able:
        raise UnsoundError(f"no slot has attempts left: {state}")
    return able[0]
