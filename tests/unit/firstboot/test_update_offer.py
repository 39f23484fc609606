"""What page "updates" shows and takes: the newest of channel and stick."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ConflictError, StateError
from appliance.settings import Device, Owner, Server, Settings, Updates, load_settings, save_toml
from appliance.update import Outcome, Result, Stage, UpdateState
from appliance.updating import GetUpdates, InstallUpdate, Updating
from firstboot.update_answers import answer
from firstboot.update_offer import find_source, newest_offer
from services.results import save_result
from services.update.channel import RESULT, CheckResult
from services.update.lock import update_lock
from services.update.rauc import Rauc
from services.update.state import add_outcome, change_newest, save_update
from services.update.stick import take
from unit.firstboot.machine import GroundedHost
from unit.services.channel_files import a_release
from unit.services.update.bench import FACTS, Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = make_bench(tmp_path, monkeypatch)
    settings = Settings(owner=Owner(name="anna"), device=Device(), server=Server(name="x.org"),
                        updates=Updates(url="https://updates.example.org"))  # fmt: skip
    save_toml(settings, made.paths.settings, mode=0o640)
    return made


def offer_by_channel(bench: Bench, version: str) -> None:
    source = find_source(bench.paths)
    assert source is not None
    result = CheckResult(at=1.0, source=source.index_url, offer=a_release(version))
    save_result(bench.paths, RESULT, result)


def offer_by_stick(bench: Bench, version: str) -> None:
    facts = replace(FACTS, version=version)
    bench.bundle(str(bench.paths.update / "bundle.raucb.new"), facts)
    file = bench.paths.root / "hearth.raucb"
    file.write_bytes(b"bundle")
    assert take(bench.paths, [file], Rauc(), 1.0).version == version


def show(bench: Bench, host: GroundedHost) -> Updating:
    shown = answer(GetUpdates(session="s"), bench.paths, host)
    assert isinstance(shown, Updating)
    return shown


def test_nothing_is_on_offer(bench: Bench) -> None:
    assert newest_offer(bench.paths) is None
    assert show(bench, GroundedHost()).offer is None


def test_the_newest_of_both_and_the_stick_where_they_are_alike(bench: Bench) -> None:
    host = GroundedHost()
    offer_by_channel(bench, "1.1")
    found = show(bench, host).offer
    assert found is not None
    assert (found.version, found.from_stick) == ("1.1", False)
    offer_by_stick(bench, "1.1")
    found = show(bench, host).offer
    assert found is not None
    assert (found.version, found.from_stick) == ("1.1", True)
    offer_by_channel(bench, "1.2")
    found = show(bench, host).offer
    assert found is not None
    assert (found.version, found.from_stick) == ("1.2", False)


def test_only_what_is_shown_can_be_chosen(bench: Bench) -> None:
    host = GroundedHost()
    offer_by_stick(bench, "1.1")
    with pytest.raises(StateError, match="not on offer"):
        answer(InstallUpdate(session="s", version="1.2"), bench.paths, host)
    answer(InstallUpdate(session="s", version="1.1"), bench.paths, host)
    with update_lock(bench.paths), pytest.raises(ConflictError):
        answer(InstallUpdate(session="s", version="1.1"), bench.paths, host)


def test_what_waits_for_its_restart_is_no_offer(bench: Bench) -> None:
    offer_by_channel(bench, "1.1")
    save_update(bench.paths, UpdateState(stage=Stage.INSTALLED, version="1.1", slot="B"))
    assert show(bench, GroundedHost()).offer is None


def test_a_copy_of_what_runs_already_is_no_offer(bench: Bench) -> None:
    offer_by_stick(bench, "1.1")
    facts = bench.paths.image_facts
    facts.write_text(facts.read_text().replace('"1.0"', '"1.1"'))
    assert newest_offer(bench.paths) is None


def test_what_comes_after_a_failure_is_said_as_it_is(bench: Bench) -> None:
    """A roll-back is never tried again by itself; what could not be installed is."""
    outcome = Outcome(
        result=Result.ROLLED_BACK, version="1.1", from_version="1.0", slot="B", at=1.0
    )
    add_outcome(bench.paths, outcome)
    save_update(bench.paths, UpdateState(since=1.0, error="1.1: the pages did not answer"))
    found = show(bench, GroundedHost())
    assert found.trouble == "1.1: the pages did not answer"
    assert "not installed again by itself" in found.next_step
    change_newest(bench.paths, replace(outcome, outside=True))
    assert "may be tried again in a day" in show(bench, GroundedHost()).next_step
    failed = UpdateState(version="1.2", source="https://x", error="no route")
    save_update(bench.paths, failed)
    assert show(bench, GroundedHost()).next_step == "it is tried again by itself"
    settings = load_settings(bench.paths.settings)
    assert settings is not None
    asked = replace(settings, updates=replace(settings.updates, automatic=False))
    save_toml(asked, bench.paths.settings, mode=0o640)
    assert "not tried again" in show(bench, GroundedHost()).next_step
    save_update(bench.paths, replace(failed, by_hand=True))
    assert show(bench, GroundedHost()).next_step == "it is tried again by itself"
