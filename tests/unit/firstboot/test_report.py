"""``hearthctl status``: what is going on with updates, and how the last ones ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.update import Outcome, Result, Stage, UpdateState
from firstboot.report import show_status
from services.update.state import add_outcome, save_update
from unit.firstboot.machine import Machine, served

BACK = Outcome(
    result=Result.ROLLED_BACK,
    version="0.3.0",
    from_version="0.2.0",
    slot="B",
    at=1_800_000_000.0,
    reason="not well after 15 minutes: Homeserver: no answer",
)


@pytest.fixture
def paths(tmp_path: Path) -> Iterator[Paths]:
    machine = Machine(tmp_path)
    with served(machine.start()):
        yield machine.paths


def test_for_people(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert show_status(paths, as_json=False) == 0
    assert "update:      none\n" in capsys.readouterr().out
    add_outcome(paths, BACK)
    save_update(paths, UpdateState(stage=Stage.TRIAL, version="0.4.0", slot="B"))
    show_status(paths, as_json=False)
    said = capsys.readouterr().out
    assert "update:      version 0.4.0 is on trial in slot B\n" in said
    assert "earlier:     version 0.3.0 was rolled back on 2027-01-15: not well after" in said


def test_why_the_last_try_came_to_nothing(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    save_update(paths, UpdateState(error="0.4.0: the card is full"))
    show_status(paths, as_json=False)
    assert "none; the last try: 0.4.0: the card is full\n" in capsys.readouterr().out


def test_for_scripts(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    add_outcome(paths, BACK)
    save_update(paths, UpdateState(stage=Stage.INSTALLING, version="0.4.0", percent=40))
    show_status(paths, as_json=True)
    update = json.loads(capsys.readouterr().out)["update"]
    assert (update["stage"], update["percent"]) == ("installing", 40)
    assert update["history"][0]["result"] == "rolled-back"
