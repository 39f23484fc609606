"""What jobs remember, read by the version before as well."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.paths import Paths
from firstboot.update_plan import Memory
from services.results import load_result, save_result


def test_a_field_of_a_newer_version_costs_nothing_else(tmp_path: Path) -> None:
    """After a roll-back: a pause of the owner's counts on."""
    paths = Paths(tmp_path)
    paths.hearth.mkdir(parents=True)
    memory = Memory(paused_until=5.0, why="Updates are paused.")
    save_result(paths, "update", memory)
    file = paths.results / "update.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "moon": "full"}))
    assert load_result(paths, "update", Memory) == memory


def test_what_is_damaged_is_none(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.hearth.mkdir(parents=True)
    assert load_result(paths, "update", Memory) is None
    save_result(paths, "update", Memory())
    for text in ("", "[]", "{", '{"failures": "many"}'):
        (paths.results / "update.json").write_text(text)
        assert load_result(paths, "update", Memory) is None, text
