"""Power cuts at every write of the slot engine, and boot.scr's choice after each."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.errors import StateError
from appliance.layout import SECTOR, STATE_OFFSETS, STATE_SIZE
from appliance.paths import Paths
from appliance.slotstate import (
    INITIAL,
    NAMES,
    SlotState,
    newest,
    read_copies,
    render_state,
)
from services import slots
from unit.services import bootscript

TEXT = 128  # beyond it both copies are zeros
Act = Callable[[Paths], object]
# Each act with the slot that runs and the state before it.
ACTS: dict[str, tuple[str, SlotState, Act]] = {
    "try_next": ("A", INITIAL, lambda paths: slots.try_next(paths, "B")),
    "try_next, the other way": (
        "B",
        SlotState(seq=40, order=("B", "A"), left={"A": 3, "B": 7}, committed="B"),
        lambda paths: slots.try_next(paths, "A"),
    ),
    "mark_bad before writing a slot": (
        "B",
        SlotState(seq=9, order=("B", "A"), left={"A": 3, "B": 6}, committed="B"),
        lambda paths: slots.mark_bad(paths, "A"),
    ),
    "commit": (
        "B",
        SlotState(seq=9, order=("B", "A"), left={"A": 7, "B": 2}, committed="A"),
        slots.commit,
    ),
    "mark_bad by the verdict": (
        "B",
        SlotState(seq=0xFF, order=("B", "A"), left={"A": 7, "B": 2}, committed="A"),
        lambda paths: slots.mark_bad(paths, "B"),
    ),
    "give_back": (
        "B",
        SlotState(seq=9, order=("B", "A"), left={"A": 7, "B": 0}, committed="A"),
        lambda paths: slots.give_back(paths),
    ),
    "give_one": (
        "A",
        SlotState(seq=9, order=("B", "A"), left={"A": 0, "B": 0}, committed="A"),
        slots.give_one,
    ),
    "settle": (
        "A",
        SlotState(seq=9, order=("B", "A"), left={"A": 6, "B": 0}, committed="A"),
        slots.commit,
    ),
    "mark_good": (
        "A",
        SlotState(seq=9, order=("A",), left={"A": 2, "B": 0}, committed="A"),
        slots.mark_good,
    ),
    "recall": (
        "A",
        SlotState(seq=1, order=("A", "B"), left={"A": 2, "B": 3}),
        lambda paths: slots.recall(paths, "B"),
    ),
}


def make_card(root: Path, slot: str, state: SlotState) -> Paths:
    """The older copy holds another, valid state: what must never count again."""
    root.mkdir(exist_ok=True)
    paths = Paths(root)
    card = root / "card"
    with card.open("wb") as file:
        file.truncate(STATE_OFFSETS[-1] + STATE_SIZE)
    with card.open("r+b") as file:
        os.pwrite(file.fileno(), render_state(state), STATE_OFFSETS[1])
        older = SlotState(seq=state.seq - 1, order=("A",), left={"A": 1, "B": 0}, committed="A")
        if older.seq:
            os.pwrite(file.fileno(), render_state(older), STATE_OFFSETS[0])
    paths.runtime.mkdir(parents=True)
    paths.boot_report.write_text(f"slot={slot}\ndisk={card}\ndata=ok\n")
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text(f"rauc.slot={slot}\n")
    return paths


def cuts(before: bytes, after: bytes) -> Iterator[bytes]:
    """What a cut may leave of one copy: any of its sectors, and a sector torn at any byte."""
    sectors = range(STATE_SIZE // SECTOR)
    for count in range(len(sectors) + 1):
        for written in itertools.combinations(sectors, count):
            raw = bytearray(before)
            for sector in written:
                at = sector * SECTOR
                raw[at : at + SECTOR] = after[at : at + SECTOR]
            yield bytes(raw)
    for cut in (*range(TEXT), SECTOR - 1):
        yield after[:cut] + before[cut:]
        yield after[:cut] + b"\xff" * (SECTOR - cut) + before[SECTOR:]


@pytest.mark.parametrize("name", ACTS)
def test_a_cut_leaves_the_state_before_or_after(name: str, tmp_path: Path) -> None:
    slot, state, act = ACTS[name]
    paths = make_card(tmp_path, slot, state)
    card = tmp_path / "card"
    before = card.read_bytes()
    act(paths)
    after = card.read_bytes()
    done = newest(read_copies(card))
    assert done is not None
    assert (done.seq, done != state) == (state.seq + 1, True)
    touched = [at for at in range(0, len(before), SECTOR)
               if before[at : at + SECTOR] != after[at : at + SECTOR]]  # fmt: skip
    [copy] = {offset for offset in STATE_OFFSETS for at in touched if 0 <= at - offset < STATE_SIZE}
    seen = set()
    for raw in cuts(before[copy : copy + STATE_SIZE], after[copy : copy + STATE_SIZE]):
        with card.open("r+b") as file:
            os.pwrite(file.fileno(), raw, copy)
        found = newest(read_copies(card))
        assert found in (state, done)
        seen.add(found == done)
    assert seen == {True, False}


@pytest.mark.parametrize("name", ACTS)
def test_after_a_cut_the_same_act_ends_in_the_same_state(name: str, tmp_path: Path) -> None:
    slot, state, act = ACTS[name]
    paths = make_card(tmp_path, slot, state)
    card = tmp_path / "card"
    with card.open("r+b") as file:
        os.pwrite(file.fileno(), b"torn", STATE_OFFSETS[0] + 7)
    act(paths)
    once = newest(read_copies(card))
    assert once is not None
    assert None not in read_copies(card)
    assert once.seq == state.seq + 1


def test_no_sequence_of_acts_and_cuts_leads_to_nowhere(tmp_path: Path) -> None:
    """Whatever happens between two starts, one slot starts, and never one being written."""
    paths = make_card(tmp_path, "A", INITIAL)
    card = tmp_path / "card"
    acts: list[Act] = [
        lambda paths: slots.mark_bad(paths, slots.other_slot(slots.booted_slot(paths))),
        lambda paths: slots.try_next(paths, slots.other_slot(slots.booted_slot(paths))),
        slots.commit,
        slots.mark_good,
        slots.give_back,
        lambda paths: slots.mark_bad(paths, slots.booted_slot(paths)),
    ]
    for number, plan in enumerate(itertools.product(range(len(acts)), repeat=3)):
        for step in plan:
            with contextlib.suppress(StateError):
                acts[step](paths)
            if number % 3 == 0:  # a cut that tore the older copy
                copies = read_copies(card)
                current = newest(copies)
                older = 0 if copies[1] == current else 1
                with card.open("r+b") as file:
                    os.pwrite(file.fileno(), b"torn", STATE_OFFSETS[older] + 20)
            found = slots.status(paths)
            booted = bootscript.boot(card)
            assert booted.slot == found.primary
            assert booted.slot in NAMES
            if booted.rescue:
                assert booted.slot == found.committed_slot
            (tmp_path / "proc/cmdline").write_text(f"rauc.slot={booted.slot}\n")


SCRIPTED = [
    INITIAL,
    SlotState(seq=9, order=("B", "A"), left={"A": 7, "B": 3}, committed="A"),
    SlotState(seq=0x10, order=("B", "A"), left={"A": 7, "B": 0}, committed="A"),
    SlotState(seq=0xAB, order=("A", "B"), left={"A": 0, "B": 0}, committed="B"),
    SlotState(seq=0xAB, order=("B", "A"), left={"A": 0, "B": 0}, committed="A"),
    SlotState(seq=0xAB, order=("B", "A"), left={"A": 0, "B": 0}),
    SlotState(seq=0xFFFFFFFF, order=("B",), left={"A": 3, "B": 0x10}, committed="B"),
]


@pytest.mark.parametrize("state", SCRIPTED)
@pytest.mark.parametrize("torn", [(), (0,), (1,), (0, 1)])
def test_the_twin_decides_and_writes_as_the_script(
    state: SlotState, torn: tuple[int, ...], tmp_path: Path
) -> None:
    """Two starts in a row by boot.cmd itself and by its twin, from the same card."""
    make_card(tmp_path, "A", state)
    card, twin = tmp_path / "card", tmp_path / "twin"
    with card.open("r+b") as file:
        for index in torn:
            os.pwrite(file.fileno(), b"torn", STATE_OFFSETS[index] + 9)
    twin.write_bytes(card.read_bytes())
    for _ in range(2):
        assert bootscript.run_script(card, tmp_path / "memory") == bootscript.boot(twin)
        assert read_copies(card) == read_copies(twin)
