from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ImageError, StateError
from appliance.layout import STATE_OFFSETS
from appliance.paths import Paths
from appliance.slotstate import (
    ATTEMPTS_PRIMARY,
    ATTEMPTS_TRY,
    INITIAL,
    SlotState,
    newest,
    read_copies,
    write_next,
)
from services import slots
from unit.services import bootscript


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A card as the image ships it, booted from slot A."""
    made = Paths(tmp_path)
    disk = tmp_path / "card"
    disk.write_bytes(bytes(6 * 1024 * 1024))
    for _ in STATE_OFFSETS:
        write_next(disk, INITIAL)
    made.runtime.mkdir(parents=True)
    made.boot_report.write_text(f"slot=A\ndisk={disk}\ndata=ok\n")
    boot(made, "A")
    return made


def boot(paths: Paths, slot: str) -> None:
    """boot.scr must choose this slot, and the kernel gets to know it."""
    proc = paths.root / "proc"
    proc.mkdir(exist_ok=True)
    assert bootscript.boot(card(paths)).slot == slot
    (proc / "cmdline").write_text(f"console=ttyAMA0 rauc.slot={slot} quiet\n")


def card(paths: Paths) -> Path:
    return paths.root / "card"


def current(paths: Paths) -> SlotState:
    state = newest(read_copies(card(paths)))
    assert state is not None
    return state


def test_status_of_a_fresh_card(paths: Paths) -> None:
    found = slots.status(paths)
    assert (found.booted, found.primary, found.committed) == ("A", "A", True)
    assert found.left["A"] == ATTEMPTS_PRIMARY - 1
    assert found.valid_copies == 2


def test_a_committed_slot_gets_its_attempts_back_once(paths: Paths) -> None:
    assert slots.mark_good(paths)
    assert current(paths).left["A"] == ATTEMPTS_PRIMARY
    before = card(paths).read_bytes()
    assert not slots.mark_good(paths)
    assert card(paths).read_bytes() == before


def test_power_cuts_in_a_row_leave_it_bootable(paths: Paths) -> None:
    for _ in range(ATTEMPTS_PRIMARY - 2):
        boot(paths, "A")
    assert current(paths).left["A"] == 1
    assert slots.mark_good(paths)
    assert current(paths).left["A"] == ATTEMPTS_PRIMARY


def test_a_slot_on_trial_is_left_alone_until_it_is_committed(paths: Paths) -> None:
    slots.mark_good(paths)
    slots.try_next(paths, "B")
    boot(paths, "B")
    assert not slots.status(paths).committed
    assert not slots.mark_good(paths)
    assert current(paths).left["B"] == ATTEMPTS_TRY - 1
    state = slots.commit(paths)
    assert state.order == ("B", "A")
    assert state.left == {"A": ATTEMPTS_TRY, "B": ATTEMPTS_PRIMARY}
    assert slots.status(paths).committed
    boot(paths, "B")
    assert slots.mark_good(paths)


def test_commit_twice_writes_once(paths: Paths) -> None:
    slots.mark_good(paths)
    slots.commit(paths)
    before = card(paths).read_bytes()
    slots.commit(paths)
    assert card(paths).read_bytes() == before


def test_after_a_failed_trial_the_old_slot_is_the_committed_one(paths: Paths) -> None:
    slots.try_next(paths, "B")
    for _ in range(ATTEMPTS_TRY):
        boot(paths, "B")
        assert slots.status(paths).trial == "B"
    boot(paths, "A")
    found = slots.status(paths)
    assert (found.committed, found.trial, found.primary, found.left["B"]) == (True, "B", "A", 0)
    assert slots.mark_good(paths)
    settled = slots.commit(paths)
    assert settled == replace(settled, order=("A", "B"), committed="A")
    assert settled.left == {"A": ATTEMPTS_PRIMARY, "B": 0}
    assert slots.status(paths).trial == ""


def test_a_slot_that_was_marked_bad_is_told_from_one_that_never_was_tried(paths: Paths) -> None:
    slots.mark_bad(paths, "B")  # RAUC, before it writes
    assert slots.status(paths).trial == ""
    slots.try_next(paths, "B")
    boot(paths, "B")
    slots.mark_bad(paths, "B")  # the verdict
    assert not slots.give_back(paths)
    boot(paths, "A")
    assert slots.status(paths).trial == "B"


def test_the_last_attempt_comes_back_too(paths: Paths) -> None:
    slots.try_next(paths, "B")
    for _ in range(ATTEMPTS_TRY):
        boot(paths, "B")
    assert slots.give_back(paths)
    boot(paths, "B")


def test_orderly_restarts_in_the_trial_cost_no_attempt(paths: Paths) -> None:
    slots.try_next(paths, "B")
    assert not slots.give_back(paths)  # it is not B that runs
    for _ in range(3 * ATTEMPTS_TRY):
        boot(paths, "B")
        assert slots.give_back(paths)
        assert not slots.give_back(paths)  # never more than there were
    assert current(paths).left["B"] == ATTEMPTS_TRY


def test_a_committed_slot_gets_nothing_back_twice(paths: Paths) -> None:
    assert not slots.give_back(paths)
    assert current(paths).left["A"] == ATTEMPTS_PRIMARY - 1


def test_only_a_slot_with_a_way_back_starts_a_trial(paths: Paths) -> None:
    with pytest.raises(StateError, match="runs already"):
        slots.try_next(paths, "A")
    with pytest.raises(StateError, match="no slot"):
        slots.try_next(paths, "C")
    slots.try_next(paths, "B")
    boot(paths, "B")
    with pytest.raises(StateError, match="has not proved itself"):
        slots.try_next(paths, "A")
    with pytest.raises(StateError, match="cannot be marked bad"):
        slots.mark_bad(paths, "A")


def test_no_attempts_anywhere_start_the_committed_slot_in_rescue_mode(paths: Paths) -> None:
    slots.try_next(paths, "B")
    boot(paths, "B")
    slots.commit(paths)
    write_next(card(paths), replace(current(paths), order=("A", "B"), left={"A": 0, "B": 0}))
    assert bootscript.boot(card(paths)) == bootscript.Booted("B", True)
    assert slots.status(paths).primary == "B"
    assert slots.mark_good(paths)  # "try again"
    boot(paths, "B")


def test_both_copies_lost_is_nobodys_commit(paths: Paths) -> None:
    raw = bytearray(card(paths).read_bytes())
    for offset in STATE_OFFSETS:
        raw[offset] ^= 1
    card(paths).write_bytes(raw)
    boot(paths, "A")
    found = slots.status(paths)
    assert (found.committed, found.committed_slot, found.trial) == (False, "", "")
    assert not slots.mark_good(paths)
    with pytest.raises(StateError, match="has not proved itself"):
        slots.try_next(paths, "B")
    assert slots.recall(paths, "B")
    assert not slots.recall(paths, "A")
    boot(paths, "B")
    assert slots.status(paths).committed


def test_one_damaged_copy_does_not_matter_and_two_are_an_error(paths: Paths) -> None:
    raw = bytearray(card(paths).read_bytes())
    copies = read_copies(card(paths))
    older = copies.index(min(copies, key=lambda copy: copy.seq if copy else 0))
    raw[STATE_OFFSETS[older]] ^= 1
    card(paths).write_bytes(raw)
    assert slots.status(paths).valid_copies == 1
    assert slots.mark_good(paths)
    raw[STATE_OFFSETS[0]] ^= 3
    raw[STATE_OFFSETS[1]] ^= 3
    card(paths).write_bytes(raw)
    with pytest.raises(ImageError):
        slots.status(paths)


def test_a_machine_that_was_booted_otherwise(paths: Paths) -> None:
    (paths.root / "proc/cmdline").write_text("root=/dev/sda1\n")
    with pytest.raises(StateError, match=r"rauc\.slot"):
        slots.status(paths)
    paths.boot_report.unlink()
    with pytest.raises(StateError, match="does not name the disk"):
        slots.mark_good(paths)
