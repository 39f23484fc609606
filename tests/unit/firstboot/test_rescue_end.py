"""Rescue mode is left once by itself: a real card, and boot.scr's choice after it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from appliance.errors import ImageError
from appliance.paths import Paths
from appliance.slotstate import ATTEMPTS_PRIMARY, SlotState, newest, read_copies, write_next
from firstboot import trial_verbs
from firstboot.rescue import end_once
from unit.services import bootscript

EMPTY = SlotState(seq=0, order=("B", "A"), left={"A": 0, "B": 0}, committed="B")


class Machine:
    """Seven short starts have used everything up."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.card = root / "card"
        self.card.write_bytes(bytes(6 * 1024 * 1024))
        write_next(self.card, EMPTY)
        for directory in (self.paths.system, self.paths.hearth, self.paths.runtime, root / "proc"):
            directory.mkdir(parents=True)
        self.boot()

    def boot(self, data: str = "ok") -> bool:
        """Whether in rescue mode."""
        booted = bootscript.boot(self.card)
        self.paths.boot_report.write_text(
            f"slot={booted.slot}\ndisk={self.card}\ndata={data}\nrescue={int(booted.rescue)}\n"
        )
        (self.paths.root / "proc/cmdline").write_text(f"rauc.slot={booted.slot}\n")
        return booted.rescue

    def come_to_its_end(self) -> None:
        verbs = {}
        trial_verbs.add_verbs(lambda name, verb: verbs.setdefault(name, verb))
        assert verbs["slot-good"](self.paths, Namespace()) == 0

    @property
    def left(self) -> int:
        state = newest(read_copies(self.card))
        assert state is not None
        return state.left["B"]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_one_start_is_tried_and_a_good_one_ends_rescue_mode(machine: Machine) -> None:
    for _ in range(2):
        assert machine.boot()
        assert end_once(machine.paths)
        assert machine.left == 1
        assert not machine.boot()
        machine.come_to_its_end()
        assert machine.left == ATTEMPTS_PRIMARY
        for _ in range(ATTEMPTS_PRIMARY):  # the next bad evening
            assert not machine.boot()


def test_a_start_that_does_not_come_to_its_end_was_the_only_one(machine: Machine) -> None:
    assert end_once(machine.paths)
    assert not machine.boot()
    assert machine.boot()
    assert not end_once(machine.paths)
    assert (machine.left, machine.boot()) == (0, True)


def test_it_is_not_left_where_that_could_not_be_remembered(machine: Machine) -> None:
    """Or it would restart every hour."""
    machine.boot(data="damaged")
    assert not end_once(machine.paths)
    machine.boot()
    machine.paths.system.rmdir()
    with pytest.raises(OSError, match="rescue-left"):
        end_once(machine.paths)
    assert machine.left == 0


def test_only_rescue_mode_is_left(machine: Machine) -> None:
    assert end_once(machine.paths)
    assert not machine.boot()
    assert not end_once(machine.paths)


def test_a_slot_that_nobody_committed_waits_for_the_owner(machine: Machine) -> None:
    write_next(machine.card, SlotState(seq=0, order=("A", "B"), left={"A": 0, "B": 0}))
    assert machine.boot()
    assert not end_once(machine.paths)
    machine.card.write_bytes(bytes(6 * 1024 * 1024))
    with pytest.raises(ImageError):
        end_once(machine.paths)
