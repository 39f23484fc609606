"""The job from the channel to the restart: a real web server, real signatures, a real card's
slots; RAUC's answers are played (unit.services.update.busctl)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.errors import ConflictError, SignatureError
from appliance.paths import Paths
from appliance.release import Rollout
from appliance.settings import Device, Owner, Server, Settings, Updates, save_toml
from appliance.state import Phase, State, save_state
from appliance.update import Baseline, Outcome, Result, Stage
from firstboot import update
from firstboot.update_offer import offered_by_channel
from firstboot.update_plan import DAY, HOUR, Memory, note_failure
from services import slots
from services.results import load_result, save_result
from services.update.channel import RESULT, CheckResult
from services.update.install import Wanted
from services.update.lock import update_lock
from services.update.state import add_outcome, load_history, load_update
from unit.clock import StillClock
from unit.services import bootscript
from unit.services.channel_files import NOW, Publisher, a_release, an_index
from unit.services.update.bench import Bench, make_bench
from unit.signing import make_root, usual_root
from unit.static_server import Served, serving

BASELINE = Baseline(passed={"homeserver": True})


@dataclass
class House:
    bench: Bench
    publisher: Publisher
    server: Served
    clock: StillClock = field(default_factory=lambda: StillClock(NOW))
    restarts: list[str] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return self.bench.paths

    def wish(self, **updates: object) -> None:
        wishes = replace(Updates(url=self.server.url, window="00:00-00:00"), **updates)  # type: ignore[arg-type]
        settings = Settings(owner=Owner(name="anna"), device=Device(timezone="Etc/UTC"),
                            server=Server(name="home.example.org"), updates=wishes)  # fmt: skip
        save_toml(settings, self.paths.settings, mode=0o640)

    def desk(self) -> update.Desk:
        return update.Desk(
            paths=self.paths,
            clock=self.clock,
            restart=lambda: self.restarts.append("restart"),
            measure=lambda paths: BASELINE,
            boot_id=lambda: "boot",
        )

    def run(self, *, later: float = 0.0) -> str:
        """What the job decided last."""
        self.clock.now += later
        return update.run_job(self.desk()).why

    def url(self, version: str) -> str:
        return f"{self.server.url}/releases/{version}/hearth.raucb"

    def publish(self, *versions: str, sequence: int, rollout: Rollout | None = None) -> None:
        releases = [a_release(version, rollout=rollout) for version in versions]
        self.publisher.publish(an_index(*releases, sequence=sequence))
        for release in releases:
            self.bench.bundle(self.url(release.facts.version), release.facts)

    @property
    def stage(self) -> Stage:
        return load_update(self.paths).stage


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    bench = make_bench(tmp_path, monkeypatch)
    paths = bench.paths
    paths.system.mkdir()
    keys = usual_root(tmp_path / "keys")
    (paths.image_facts.parent / "update").mkdir()
    (paths.image_facts.parent / "update/keyring.pem").write_bytes(keys.keyring.read_bytes())
    os.utime(paths.image_facts, (NOW - 30 * DAY, NOW - 30 * DAY))
    save_state(State(phase=Phase.READY), paths.state)
    (tmp_path / "site").mkdir()
    publisher = Publisher(tmp_path / "site", keys.signer)
    publisher.publish_crl(keys.crl())
    with serving(publisher.directory) as served:
        made = House(bench, publisher, served)
        made.publish("1.1", sequence=1)
        made.wish()
        yield made


def test_from_the_channel_to_the_restart_in_one_run(house: House) -> None:
    why = house.run()
    assert "its hour" in why
    assert house.restarts == ["restart"]
    state = load_update(house.paths)
    assert (state.stage, state.version, state.baseline) == (Stage.TRIAL, "1.1", BASELINE)
    assert bootscript.boot(house.paths.root / "card").slot == "B"


def test_it_waits_for_the_owners_hour(house: House) -> None:
    hour = int(NOW // HOUR % 24)
    house.wish(window=f"{(hour + 2) % 24:02}:00-{(hour + 4) % 24:02}:00")
    assert "waits for its hour" in house.run()
    assert (house.stage, house.restarts) == (Stage.INSTALLED, [])
    asked = len(house.server.requests)
    house.run(later=HOUR / 2)
    assert len(house.server.requests) == asked  # one look a day
    house.run(later=2.5 * HOUR)
    assert len(house.server.requests) > asked  # and one before the restart
    assert house.restarts == ["restart"]


def test_a_release_that_is_paused_meanwhile_is_not_started(house: House) -> None:
    hour = int(NOW // HOUR % 24)
    house.wish(window=f"{(hour + 2) % 24:02}:00-{(hour + 4) % 24:02}:00")
    house.run()
    house.publish("1.1", sequence=2, rollout=Rollout(paused=True))
    assert "held back by its publisher" in house.run(later=3 * HOUR)
    assert (house.stage, house.restarts) == (Stage.INSTALLED, [])
    house.publish("1.2", "1.1", sequence=3)
    house.run(later=DAY)
    assert load_update(house.paths).version == "1.2"
    assert house.restarts == ["restart"]


def test_a_click_on_what_fails_does_not_end_automatic_updates(house: House) -> None:
    house.bench.bundle(house.url("1.1"), error="signature verification failed: Verify error")
    with pytest.raises(SignatureError):
        update.install(house.desk(), Wanted(source=house.url("1.1"), version="1.1", by_hand=True))
    house.publish("1.2", sequence=2)
    house.run(later=DAY)
    state = load_update(house.paths)
    assert (state.version, state.by_hand, house.restarts) == ("1.2", False, ["restart"])


def test_a_click_on_what_is_paused_later_does_not_either(house: House) -> None:
    update.install(house.desk(), Wanted(source=house.url("1.1"), version="1.1", by_hand=True))
    house.publish("1.1", sequence=2, rollout=Rollout(paused=True))
    assert "held back by its publisher" in house.run()
    house.publisher.publish(an_index(a_release("1.2"), sequence=3))
    house.bench.bundle(house.url("1.2"), a_release("1.2").facts)
    house.run(later=DAY)
    assert (load_update(house.paths).version, house.restarts) == ("1.2", ["restart"])


def test_a_server_that_is_gone_is_asked_less_and_less_often(house: House) -> None:
    (house.publisher.directory / "stable/index.cms").unlink()
    for _ in range(48):
        house.run(later=HOUR / 2)
    asked = [path for path, _ in house.server.requests if path.endswith("index.cms")]
    assert 5 <= len(asked) <= 8
    assert house.restarts == []
    house.publish("1.1", sequence=1)
    house.run(later=DAY)
    assert house.restarts == ["restart"]


def test_a_version_that_was_rolled_back_is_never_installed_by_itself(house: House) -> None:
    """Also not by an answer of the channel that is older than the roll-back."""
    house.wish(automatic=False)
    house.run()
    found = load_result(house.paths, RESULT, CheckResult)
    assert found is not None
    assert found.offer is not None
    add_outcome(house.paths, Outcome(result=Result.ROLLED_BACK, version="1.1", from_version="1.0",
                                     slot="B", at=NOW, reason="no pages"))  # fmt: skip
    house.wish()
    for _ in range(5):
        house.run(later=DAY)
    assert (house.stage, house.restarts) == (Stage.IDLE, [])
    house.publish("1.2", sequence=2)
    house.run(later=DAY)
    assert house.restarts == ["restart"]


def test_a_version_that_only_the_outside_sent_back_is_tried_again_the_next_day(
    house: House,
) -> None:
    """Twice, and then it is as good as any other that was rolled back."""
    for tries in range(1, 4):
        add_outcome(house.paths, Outcome(result=Result.ROLLED_BACK, version="1.1", slot="B",
                                         from_version="1.0", at=house.clock.now, outside=True,
                                         reason="no router", log=str(tries)))  # fmt: skip
        house.run(later=HOUR)
        assert house.restarts == []
        for _ in range(3):
            house.run(later=DAY)
        assert bool(house.restarts) is (tries < 3)
        house.restarts.clear()
        slots.commit(house.paths)
        (house.paths.update / "state.json").unlink(missing_ok=True)


def test_who_looks_is_shown_a_release_before_its_turn_and_gets_it_then(house: House) -> None:
    house.publish("1.1", sequence=2, rollout=Rollout(percent=0))
    assert house.run() == "There is nothing new."
    assert offered_by_channel(house.paths) is None
    update.check(house.desk(), wants_it_now=True)
    assert offered_by_channel(house.paths) is not None
    assert house.run() == "There is nothing new."
    house.publish("1.1", sequence=3, rollout=Rollout(percent=100))
    house.run(later=DAY)
    assert house.restarts == ["restart"]


def test_a_strangers_bundle_is_tried_once_a_day_and_told_once(house: House) -> None:
    house.bench.bundle(house.url("1.1"), error="signature verification failed: Verify error")
    for _ in range(48):
        house.run(later=HOUR / 2)
    history = load_history(house.paths)
    assert [one.result for one in history] == [Result.NOT_INSTALLED]
    assert "Verify error" in history[0].reason
    assert update.load_memory(house.paths).failures <= 3
    assert house.bench.read("calls") == {}


def test_a_download_that_breaks_off_is_tried_again_soon(house: House) -> None:
    house.bench.plan(error="Failed updating slot rootfs.1: Input/output error")
    house.run()
    assert load_update(house.paths).error
    house.bench.plan()
    assert "tried again later" in house.run(later=60)
    house.run(later=HOUR / 2)
    assert house.restarts == ["restart"]
    assert update.load_memory(house.paths).failures == 0
    assert load_history(house.paths) == ()


def test_five_failures_in_a_row_go_on_the_record(house: House) -> None:
    house.bench.plan(error="Failed to configure nbd device")
    for _ in range(48):
        house.run(later=HOUR / 2)
    assert [one.result for one in load_history(house.paths)] == [Result.NOT_INSTALLED]
    assert 5 <= update.load_memory(house.paths).failures <= 8


def test_what_is_hopeless_after_a_soft_failure_is_told_too(house: House) -> None:
    house.bench.plan(error="Failed to configure nbd device")
    house.run()
    assert load_history(house.paths) == ()
    house.bench.bundle(house.url("1.1"), error="signature verification failed: Verify error")
    for _ in range(3):
        house.run(later=DAY)
    assert [one.result for one in load_history(house.paths)] == [Result.NOT_INSTALLED]


def test_what_a_wrong_clock_put_off_comes_when_it_is_right(house: House) -> None:
    ahead = NOW + 4000 * DAY
    memory = note_failure(Memory(), "1.1", ahead, hopeless=True)
    memory = replace(memory, paused_until=ahead + DAY / 2, paused_seconds=DAY / 2)
    save_result(house.paths, update.RESULT, memory)
    assert "paused" in house.run()
    assert "tried again later" in house.run(later=DAY / 2)
    house.run(later=DAY / 2)
    assert house.restarts == ["restart"]


def test_what_was_interrupted_goes_on(house: House) -> None:
    house.bench.plan(steps=[[10, "x"], [20, "x"], [30, "x"]])

    class KilledError(BaseException):
        pass

    def report(state: object) -> None:
        if "10" in str(getattr(state, "percent", "")):
            raise KilledError

    with pytest.raises(KilledError):
        update.run_job(replace(house.desk(), report=report))
    assert house.stage is Stage.INSTALLING
    house.run(later=60)
    assert house.restarts == ["restart"]
    assert len(house.bench.read("calls")) == 1


def test_a_restart_that_did_not_come_is_asked_for_again(house: House) -> None:
    house.run()
    house.run(later=HOUR / 2)
    assert house.restarts == ["restart", "restart"]


def test_in_the_trial_the_job_keeps_still(house: House) -> None:
    house.run()
    bootscript.boot(house.paths.root / "card")
    (house.paths.root / "proc/cmdline").write_text("rauc.slot=B\n")
    house.paths.image_facts.write_text(json.dumps({"version": "1.1", "boot_interface": 1}))
    assert "on trial" in house.run(later=HOUR)
    assert house.restarts == ["restart"]


def test_after_the_commit_the_old_offer_is_no_news(house: House) -> None:
    house.run()
    bootscript.boot(house.paths.root / "card")
    (house.paths.root / "proc/cmdline").write_text("rauc.slot=B\n")
    house.paths.image_facts.write_text(json.dumps({"version": "1.1", "boot_interface": 1}))
    slots.commit(house.paths)
    (house.paths.update / "state.json").unlink()
    assert house.run(later=60) == "There is nothing new."
    assert len(house.bench.read("calls")) == 1


def test_another_channel_is_asked_at_once_and_its_old_word_forgotten(house: House) -> None:
    house.wish(automatic=False)
    house.run()
    assert offered_by_channel(house.paths) is not None
    (house.publisher.directory / "elsewhere").mkdir()
    house.wish(automatic=False, url=f"{house.server.url}/elsewhere")
    assert offered_by_channel(house.paths) is None
    asked = len(house.server.requests)
    house.run(later=60)
    assert len(house.server.requests) > asked


def test_two_at_once_is_one_too_many(house: House) -> None:
    with update_lock(house.paths), pytest.raises(ConflictError):
        house.run()


def test_the_index_of_a_stranger_installs_nothing(house: House, tmp_path: Path) -> None:
    other = make_root(tmp_path / "other").release("release")
    stranger = Publisher(house.publisher.directory, other)
    stranger.publish(an_index(a_release("9.9"), sequence=99))
    assert house.run() == "There is nothing new."
    found = load_result(house.paths, RESULT, CheckResult)
    assert found is not None
    assert found.error


def test_without_setup_nothing_is_asked(house: House) -> None:
    save_state(State(phase=Phase.SETUP), house.paths.state)
    assert house.run() == "Setup is not over yet."
    assert house.server.requests == []


def test_snapshots_grow_older_with_every_hour_of_running(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours: list[Paths] = []
    monkeypatch.setattr(update, "age", hours.append)
    house.wish(automatic=False)
    for _ in range(9):
        house.run(later=HOUR / 2)
    assert len(hours) == 4
