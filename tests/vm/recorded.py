"""An update's writes, and the cards that they leave behind at any moment of it.

One log has everything from the first power-on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from appliance.layout import SLOT_B, STATE_OFFSETS, STATE_SIZE, Partition
from appliance.slotstate import SlotState, newest, parse_state
from imagebuild.vm import CARD_SIZE
from unit.services.card import copy_card
from vm.logwrites import Cut, Entry, Replay, last_flush, losses


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """``begin``: how many of ``entries`` were there before the installation began."""

    directory: Path
    flashed: Path
    log: Path
    entries: tuple[Entry, ...]
    begin: int

    @cached_property
    def states(self) -> tuple[tuple[int, SlotState], ...]:
        """Each change of the slot state after ``begin``: number of the entry that made it."""
        seen: list[tuple[int, SlotState]] = []
        with self.log.open("rb") as log, self.flashed.open("rb") as card:
            copies = {at: os.pread(card.fileno(), STATE_SIZE, at) for at in STATE_OFFSETS}
            for number, entry in enumerate(self.entries):
                if entry.at not in STATE_OFFSETS or not entry.is_write:
                    continue
                log.seek(entry.data_at)
                copies[entry.at] = log.read(STATE_SIZE)
                state = newest(tuple(map(parse_state, copies.values())))
                if state and number >= self.begin and (not seen or seen[-1][1] != state):
                    seen.append((number, state))
        return tuple(seen)

    def tried(self) -> int:
        """How many entries there were when the machine next started would start slot B."""
        leads = [
            at for at, (_, state) in enumerate(self.states)
            if state.order[0] == "B" and state.left["B"] > 0 and state.committed == "A"
        ]  # fmt: skip
        return self.states[leads[0] + 1][0]  # all up to boot.scr's own counting

    def installed(self) -> int:
        """How many entries there were once slot B was written."""
        writes = [n for n, entry in enumerate(self.entries) if is_within(entry, SLOT_B)]
        return writes[-1] + 1

    def card(self, position: int, target: Path) -> Path:
        """The whole card after so many writes."""
        copy_card(self.flashed, target)
        with target.open("r+b") as file:
            file.truncate(CARD_SIZE)
        self.replay([Piece(file=target, start=0, end=CARD_SIZE)], 0, position)
        return target

    def replay(self, pieces: Sequence[Piece], begin: int, end: int) -> None:
        """Entries ``begin`` to ``end``, each onto the piece of the card that it belongs to."""
        self._apply(pieces, ((entry, None) for entry in self.entries[begin:end]))

    def lose(self, pieces: Sequence[Piece], cut: Cut) -> None:
        """From the pieces as of the cut's last flush to the pieces as of the cut."""
        pending = self.entries[last_flush(self.entries, cut.position) : cut.position]
        self._apply(pieces, losses(cut, pending))

    def _apply(
        self, pieces: Sequence[Piece], arrived: Iterable[tuple[Entry, list[int] | None]]
    ) -> None:
        with ExitStack() as stack:
            replays = [stack.enter_context(Replay(self.log, piece.file)) for piece in pieces]
            for entry, sectors in arrived:
                for piece, replay in zip(pieces, replays, strict=True):
                    if entry.size and piece.start <= entry.at < piece.end:
                        replay.apply(replace(entry, at=entry.at - piece.start), sectors)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Bytes ``start`` to ``end`` of a card, as a file."""

    file: Path
    start: int
    end: int


def is_within(entry: Entry, partition: Partition) -> bool:
    end = partition.start + (partition.size or CARD_SIZE)
    return entry.is_write and partition.start <= entry.at < end


def strays(entries: Sequence[Entry], *allowed: Partition) -> list[Entry]:
    """Writes outside the slot state and the ``allowed`` partitions."""
    return [
        entry for entry in entries
        if entry.size and entry.at not in STATE_OFFSETS
        and not any(is_within(entry, partition) for partition in allowed)
    ]  # fmt: skip
