"""The initramfs's part of a factory reset: the real program on real files, or one that fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unit.firstboot.test_reset_card import is_fresh, make, reset
from unit.imagebuild.test_init import SCRIPT, Init

FIRSTBOOT = Path(__file__).parents[3] / "firstboot"
TELL = 'finish_reset; echo "$data|$first_boot|$data_detail"'


@pytest.fixture
def init(tmp_path: Path) -> Init:
    return Init(tmp_path)


def run(init: Init, *, program: str) -> str:
    lines = [
        "data=ok first_boot=0 data_detail=''",
        "say() { echo said; }; alive() { :; }; umount() { echo unmounted; }",
        f"in_slot() {{ {program}; }}",
        TELL,
    ]
    return init.run("\n".join(lines))


def real(root: Path) -> str:
    """What chroot would run, told where /data is."""
    return f'shift; env PYTHONPATH={FIRSTBOOT} {sys.executable} "$@" --root {root} 2>/dev/null'


def test_nothing_is_started_without_an_order(init: Init) -> None:
    assert run(init, program="echo started") == "ok|0|\n"


def test_an_ordered_reset_is_done_before_the_system_starts(init: Init) -> None:
    slot = init.root / "slot"
    (slot / "data").rmdir()
    paths = make(slot)
    reset(paths)
    assert run(init, program=real(slot)) == "ok|1|\n"
    assert is_fresh(paths)
    assert run(init, program="echo started") == "ok|0|\n"


def test_one_that_could_not_begin_changes_nothing(init: Init) -> None:
    (init.root / "slot/data/reset.json").touch()
    assert run(init, program="return 3") == (
        "said\nok|0|the factory reset could not begin, and nothing was changed\n"
    ), "the owner, who waits for an empty appliance, must be told"


@pytest.mark.parametrize("code", [1, 127, 137])
def test_half_a_reset_is_never_used(init: Init, code: int) -> None:
    (init.root / "slot/data/reset.json").touch()
    told = run(init, program=f"return {code}").splitlines()
    assert told[0] == "unmounted"
    assert told[1].startswith("damaged|0|a factory reset could not be finished")


def test_it_comes_before_anything_is_bound_or_written() -> None:
    text = SCRIPT.read_text()
    body = text[text.index("mount_data() {") :]
    assert body.index("finish_reset") < body.index("mount -t tmpfs")
    main = text[text.index("\nmount_data\n") :]
    assert main.index("mount_data") < main.index("bind_persisted")
