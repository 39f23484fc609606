"""Taking over what RAUC was told to install by somebody else; the slot's file system is real."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ConfigError, ImageError, StateError
from appliance.layout import SLOTS, partition_device
from appliance.release import ReleaseFacts
from appliance.tables import to_table
from appliance.update import Outcome, Result, Stage, UpdateState
from services import slots
from services.update.adopt import SOURCE, Adopter
from services.update.install import require_installed
from services.update.rauc import Rauc
from services.update.state import add_outcome, load_update, save_update
from unit.hearthctl import hearthctl
from unit.services.update.bench import FACTS, Bench, make_bench

NOW = 1000.0


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = make_bench(tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", f"{tmp_path / 'rauc'}:/usr/bin:/bin:/usr/sbin:/sbin")
    return made


def installed(bench: Bench, facts: ReleaseFacts = FACTS, **said: str) -> None:
    """RAUC has written slot B."""
    write_slot(bench, {"version": facts.version, "facts": {**to_table(facts), "news": [1]}})
    record = {
        "status": "ok",
        "bundle.version": facts.version,
        "bundle.hash": f"hash of {facts.version}",
        "installed.transaction": "theirs",
        **said,
    }
    bench.write("slots", {"B": record})


def write_slot(bench: Bench, image_facts: Mapping[str, object]) -> None:
    tree = bench.rauc / "tree/usr/share/hearth"
    tree.mkdir(parents=True, exist_ok=True)
    (tree / "image.json").write_text(json.dumps(image_facts))
    device = partition_device(slots.booted_disk(bench.paths), SLOTS["B"].number)
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-d", bench.rauc / "tree", device, "2M"]
    subprocess.run(argv, check=True, capture_output=True)


def test_it_waits_for_its_hour_like_any_other(bench: Bench) -> None:
    installed(bench)
    found = Adopter(paths=bench.paths).find(NOW)
    assert load_update(bench.paths) == UpdateState()
    state = Adopter(paths=bench.paths).adopt(NOW)
    assert state is not None
    assert state == found
    assert state == load_update(bench.paths)
    assert (state.stage, state.version, state.slot) == (Stage.INSTALLED, "1.1", "B")
    assert (state.from_version, state.from_slot, state.source) == ("1.0", "A", SOURCE)
    require_installed(bench.paths, state, Rauc())


def test_it_is_taken_once(bench: Bench) -> None:
    installed(bench)
    Adopter(paths=bench.paths).adopt(NOW)
    before = load_update(bench.paths)
    assert Adopter(paths=bench.paths).adopt(NOW + 60) is None
    assert load_update(bench.paths) == before
    installed(bench, replace(FACTS, version="1.2"))
    newer = Adopter(paths=bench.paths).adopt(NOW + 120)
    assert newer is not None
    assert newer.version == "1.2"


@pytest.mark.parametrize(
    "said",
    [{"status": "failed"}, {"status": "pending"}, {"status": ""}, {"bundle.version": ""},
     {"bundle.version": "1.0"}, {"bundle.version": "0.9"}],
)  # fmt: skip
def test_nothing_waits(bench: Bench, said: dict[str, str]) -> None:
    installed(bench, **said)
    assert Adopter(paths=bench.paths).adopt(NOW) is None
    assert load_update(bench.paths) == UpdateState()


def test_rauc_has_never_installed(bench: Bench) -> None:
    assert Adopter(paths=bench.paths).adopt(NOW) is None


@pytest.mark.parametrize(
    "facts",
    [{"boards": ("rpi5",)}, {"minimum": "1.0.5"}, {"postgresql": 18}, {"boot_interface": 9}],
)
def test_the_gates_hold_for_it(bench: Bench, facts: dict[str, object]) -> None:
    installed(bench, replace(FACTS, **facts))  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        Adopter(paths=bench.paths).adopt(NOW)
    assert load_update(bench.paths) == UpdateState()


def test_what_failed_here_is_not_tried_again(bench: Bench) -> None:
    outcome = Outcome(result=Result.ROLLED_BACK, version="1.1", from_version="1.0", slot="B",
                      at=NOW, reason="the pages did not answer")  # fmt: skip
    add_outcome(bench.paths, outcome)
    installed(bench)
    with pytest.raises(ConfigError, match="the pages did not answer"):
        Adopter(paths=bench.paths).adopt(NOW)


def test_not_in_the_middle_of_something(bench: Bench) -> None:
    installed(bench)
    save_update(bench.paths, UpdateState(stage=Stage.INSTALLING, version="1.1"))
    with pytest.raises(StateError, match="under way"):
        Adopter(paths=bench.paths).adopt(NOW)
    save_update(bench.paths, UpdateState(stage=Stage.TRIAL, version="1.1"))
    with pytest.raises(StateError, match="on trial"):
        Adopter(paths=bench.paths).adopt(NOW)


def test_a_slot_that_is_not_what_it_is_called(bench: Bench) -> None:
    installed(bench, **{"bundle.version": "1.3"})
    with pytest.raises(ImageError, match=r"holds 1\.1"):
        Adopter(paths=bench.paths).adopt(NOW)
    for content in ({}, {"facts": None}, {"facts": {"version": 3}}):
        write_slot(bench, content)
        with pytest.raises(ImageError, match="does not say"):
            Adopter(paths=bench.paths).adopt(NOW)
    device = partition_device(slots.booted_disk(bench.paths), SLOTS["B"].number)
    device.write_bytes(bytes(4096))
    with pytest.raises(ImageError, match="does not say"):
        Adopter(paths=bench.paths).adopt(NOW)


def test_the_verb(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("the verbs are root's")

    def type_(*words: str) -> str:
        result = hearthctl(bench.paths.root, "update", "adopt", *words)
        assert result.returncode == 0, result.stderr
        return result.stdout

    assert "nothing that waits" in type_()
    installed(bench)
    assert "1.1 waits" in type_("--dry-run")
    assert load_update(bench.paths) == UpdateState()
    assert json.loads(type_("--json"))["version"] == "1.1"
    assert load_update(bench.paths).stage is Stage.INSTALLED
