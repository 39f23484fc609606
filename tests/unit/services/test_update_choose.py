"""Which release is for which machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ConfigError
from appliance.release import BUCKETS, ReleaseFacts, Rollout, bucket, is_in_rollout
from services.update.choose import Gate, choose, gate, held_back
from services.update.machine import BOARDS, Machine
from unit.services.channel_files import MACHINE_ID, a_release, an_index

SOURCE = Path(__file__).parents[3]
PI4 = Machine(version="1.0", machine_id=MACHINE_ID, model="raspberrypi,4-model-b",
              boot_interface=1, postgresql=17)  # fmt: skip


def chosen(*releases: object, machine: Machine = PI4) -> str:
    choice = choose(an_index(*releases), machine)  # type: ignore[arg-type]
    return choice.release.facts.version if choice.release else ""


def test_the_newest_by_number_and_not_by_text() -> None:
    assert chosen(a_release("1.9"), a_release("1.10"), a_release("1.2")) == "1.10"


@pytest.mark.parametrize("version", ["1.0", "0.9", "1.0rc1", "1.0.dev3"])
def test_nothing_older_and_not_the_same(version: str) -> None:
    assert chosen(a_release(version)) == ""


def test_from_a_development_image_to_its_release() -> None:
    assert chosen(a_release("1.0"), machine=replace(PI4, version="1.0-dev")) == "1.0"


def test_one_step_after_the_other() -> None:
    releases = (a_release("3.0", minimum="2.0"), a_release("2.1", minimum="1.5"),
                a_release("2.0"), a_release("1.5"))  # fmt: skip
    assert chosen(*releases) == "2.0"
    assert chosen(*releases, machine=replace(PI4, version="2.0")) == "3.0"


@pytest.mark.parametrize(
    ("facts", "stopped"),
    [
        ({"compatible": "hearth-amd64"}, Gate.COMPATIBLE),
        ({"boards": ("rpi5",)}, Gate.BOARD),
        ({"minimum": "1.0.1"}, Gate.MINIMUM),
        ({"boot_interface": 2}, Gate.BOOT_INTERFACE),
        ({"postgresql": 18}, Gate.POSTGRESQL),
        ({"version": "1.0"}, Gate.VERSION),
        ({"boards": ("rpi5", "rpi4")}, None),
    ],
)
def test_what_can_never_be_taken(facts: dict[str, object], stopped: Gate | None) -> None:
    made = replace(ReleaseFacts(version="1.1"), **facts)  # type: ignore[arg-type]
    found = gate(made, PI4)
    assert (found.gate if found else None) is stopped


def test_boards() -> None:
    facts = ReleaseFacts(version="1.1", boards=("rpi5-d0",))
    assert gate(facts, replace(PI4, model="raspberrypi,5-model-b")) is None
    assert gate(facts, replace(PI4, model="linux,dummy-virt")) is None
    for model in ("", "raspberrypi,6-model-b"):
        stopped = gate(facts, replace(PI4, model=model))
        assert stopped is not None
        assert stopped.gate is Gate.BOARD
        assert gate(ReleaseFacts(version="1.1"), replace(PI4, model=model)) is None


def test_every_board_of_the_image_has_a_model() -> None:
    known = {name for names in BOARDS.values() for name in names}
    assert known == {file.stem for file in (SOURCE / "image/boards").glob("*.toml")}


def test_a_rollout_only_ever_grows() -> None:
    machines = [f"{number:032x}" for number in range(4000)]
    before: set[str] = set()
    for percent in (0.0, 1.0, 5.0, 25.0, 100.0):
        rollout = Rollout(percent=percent)
        reached = {one for one in machines if is_in_rollout(rollout, one, "1.1")}
        assert before <= reached
        assert len(reached) / len(machines) * 100 == pytest.approx(percent, abs=2)
        before = reached
    assert len(before) == len(machines)
    assert not any(is_in_rollout(Rollout(paused=True), one, "1.1") for one in machines)


def test_another_release_has_other_first_machines() -> None:
    machines = [f"{number:032x}" for number in range(4000)]
    first = [
        {one for one in machines if bucket(one, version) < BUCKETS // 20}
        for version in ("1.1", "1.2")
    ]
    assert len(first[0] & first[1]) < len(first[0]) / 3


def test_who_waits_in_a_rollout_takes_what_is_out_for_all() -> None:
    assert chosen(a_release("1.2", rollout=Rollout(percent=0)), a_release("1.1")) == "1.1"


def test_what_was_installed_waits_when_it_is_held_back() -> None:
    index = an_index(a_release("1.2", rollout=Rollout(paused=True)), a_release("1.1"))
    assert held_back(index, "1.1") == ""
    assert "held back" in held_back(index, "1.2")
    assert "withdrawn" in held_back(index, "1.3")


def test_a_version_that_is_none() -> None:
    with pytest.raises(ConfigError, match="no version"):
        chosen(a_release("latest"))
