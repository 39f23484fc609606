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
    """As boot.scr: one attempt less."""
    proc = paths.root / "proc"
    proc.mkdir(exist_ok=True)
    (proc / "cmdline").write_text(f"console=ttyAMA0 rauc.slot={slot} quiet\n")
    state = current(paths)
    write_next(card(paths), replace(state, left={**state.left, slot: state.left[slot] - 1}))


def card(paths: Paths) -> Path:
    return paths.root / "card"


def current(paths: Paths) -> SlotState:
    state = newest(read_copies(card(paths)))
    assert state is not None
    return state


def try_slot(paths: Paths, slot: str) -> None:
    """As an update does: the new slot first, with few attempts."""
    others = tuple(name for name in ("A", "B") if name != slot)
    left = {**current(paths).left, slot: ATTEMPTS_TRY}
    write_next(card(paths), SlotState(seq=0, order=(slot, *others), left=left))


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
    try_slot(paths, "B")
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


def test_the_fallback_after_a_failed_trial_is_not_marked(paths: Paths) -> None:
    slots.mark_good(paths)
    try_slot(paths, "B")
    for _ in range(ATTEMPTS_TRY):
        boot(paths, "B")
    boot(paths, "A")
    assert not slots.status(paths).committed
    assert not slots.mark_good(paths)


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
