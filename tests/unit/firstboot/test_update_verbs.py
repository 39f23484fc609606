"""``hearthctl update`` as a person types it, and a real channel."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.settings import Device, Owner, Server, Settings, Updates, save_toml
from appliance.state import Phase, State, save_state
from appliance.update import Outcome, Result, Stage, UpdateState
from firstboot.update_plan import DAY
from services import slots
from services.results import save_result
from services.update.lock import update_lock
from services.update.state import add_outcome, load_update, save_update
from services.update.stick import RESULT as STICK
from services.update.stick import StickResult
from unit.hearthctl import hearthctl
from unit.services.channel_files import NOW, Publisher, a_release, an_index
from unit.services.update.bench import FACTS, Bench, make_bench
from unit.signing import usual_root
from unit.static_server import Served, serving


@dataclass
class Terminal:
    bench: Bench
    publisher: Publisher
    server: Served

    def type(self, *words: str, code: int = 0) -> str:
        result = hearthctl(self.bench.paths.root, "update", *words)
        assert result.returncode == code, result.stderr
        return result.stdout if code == 0 else result.stderr

    def state(self) -> UpdateState:
        return load_update(self.bench.paths)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    if os.geteuid() != 0:
        pytest.skip("the verbs are root's")
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
    publisher.publish(an_index(a_release("1.1")))
    with serving(publisher.directory) as served:
        settings = Settings(owner=Owner(name="anna"), device=Device(timezone="Europe/Berlin"),
                            server=Server(name="home.example.org"),
                            updates=Updates(url=served.url, automatic=False))  # fmt: skip
        save_toml(settings, paths.settings, mode=0o640)
        bench.bundle(f"{served.url}/releases/1.1/hearth.raucb", a_release("1.1").facts)
        bench.bundle(str(paths.update / "bundle.raucb.new"), replace(FACTS, version="1.2"))
        bench.bundle(str(paths.update / "bundle.raucb"), replace(FACTS, version="1.2"))
        yield Terminal(bench, publisher, served)


def test_check_install_status_cancel(terminal: Terminal) -> None:
    assert "checked:   never" in terminal.type()
    assert "Version 1.1 is on offer." in terminal.type("check")
    assert "offered:   version 1.1" in terminal.type("status")
    said = terminal.type("install", "--dry-run", "--json")
    assert json.loads(said)["version"] == "1.1"
    assert terminal.state().stage is Stage.IDLE
    assert "Version 1.1 is installed" in terminal.type("install")
    assert (terminal.state().stage, terminal.state().by_hand) == (Stage.INSTALLED, True)
    assert "waits for its restart" in terminal.type()
    assert "would restart into version 1.1 in slot B" in terminal.type("reboot", "--dry-run")
    table = json.loads(terminal.type("--json"))
    assert (table["update"]["version"], table["slot"]["booted"]) == ("1.1", "A")
    assert "1.1 is forgotten" in terminal.type("cancel")
    assert terminal.state() == UpdateState()
    file = terminal.bench.paths.settings
    file.write_text(file.read_text().replace("automatic = false", "automatic = true"))
    terminal.type("run")
    assert terminal.state() == UpdateState(), "it does not come again by itself"
    assert "1.1 was cancelled" in terminal.type()
    assert "no update to cancel" in terminal.type("cancel", code=11)


def test_from_a_file(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "hearth-1.2.raucb"
    file.write_bytes(b"a bundle")
    copy = terminal.bench.paths.update / "bundle.raucb"
    assert "would install version 1.2" in terminal.type("install", "--from", str(file), "--dry-run")
    assert "stick:     version 1.2" in terminal.type()
    assert "1.2 is installed" in terminal.type("install")  # newer than what the channel has
    assert terminal.state().version == "1.2"
    assert not copy.exists()
    assert "not there" in terminal.type("install", "--from", "/nowhere", code=11)
    assert "nothing that waits" in terminal.type("adopt")  # known already
    assert "goes with" in terminal.type("check", "--from", "/nowhere", code=2)


def test_a_bad_stick_is_told(terminal: Terminal) -> None:
    bad = StickResult(at=1.0, trouble="hearth.raucb: it is empty", hint="try another stick")
    save_result(terminal.bench.paths, STICK, bad)
    assert "stick:     hearth.raucb: it is empty; try another stick" in terminal.type()
    assert json.loads(terminal.type("--json"))["stick_trouble"] == "hearth.raucb: it is empty"


def test_what_failed_here_needs_a_word_more(terminal: Terminal) -> None:
    bad = Outcome(result=Result.ROLLED_BACK, version="1.1", from_version="1.0", slot="B",
                  at=time.time(), reason="the pages did not answer")  # fmt: skip
    add_outcome(terminal.bench.paths, bad)
    said = terminal.type("install", code=11)
    assert "the pages did not answer" in said
    assert "--again" in said
    assert "1.1 rolled-back: the pages did not answer" in terminal.type()
    assert "1.1 is installed" in terminal.type("install", "--again")


def test_a_refused_bundle_is_one_sentence(terminal: Terminal) -> None:
    url = f"{terminal.server.url}/releases/1.1/hearth.raucb"
    terminal.bench.bundle(url, error="signature verification failed: Verify error: revoked")
    said = terminal.type("install", code=18)
    assert said.splitlines()[-2].startswith("error: the bundle is not signed")
    assert "trouble:" in terminal.type()


def test_never_two_at_once(terminal: Terminal) -> None:
    with update_lock(terminal.bench.paths):
        for act in ("check", "install", "reboot", "cancel", "pause"):
            assert "under way" in terminal.type(act, code=14)
        terminal.type("run")  # the timer's comes again
        assert terminal.server.requests == []
        assert json.loads(terminal.type("--json"))["busy"] is True


def test_a_pause_and_its_end(terminal: Terminal) -> None:
    assert "Paused for 3 days." in terminal.type("pause", "--days", "3")
    assert "paused:" in terminal.type()
    assert "Updates are paused." in terminal.type("run", "--dry-run")
    terminal.type("resume")
    assert "look at the channel" in terminal.type("run", "--dry-run")
    terminal.type("run")
    assert terminal.state().stage is Stage.IDLE  # the owner wants to be asked
    assert "day at least" in terminal.type("pause", "--days", "0", code=2)


def test_nothing_is_installed_twice_or_in_a_trial(terminal: Terminal) -> None:
    save_update(terminal.bench.paths, UpdateState(stage=Stage.TRIAL, version="1.1", slot="B"))
    slots.try_next(terminal.bench.paths, "B")
    (terminal.bench.paths.root / "proc/cmdline").write_text("rauc.slot=B\n")
    assert "on trial" in terminal.type("install", code=11)
    assert "on trial" in terminal.type("reboot", code=11)
    assert "is being tried" in terminal.type("cancel", code=11)
    assert "on trial" in terminal.type()


def test_a_time_zone_that_there_is_not(terminal: Terminal) -> None:
    file = terminal.bench.paths.settings
    terminal.type("check")
    file.write_text(file.read_text().replace("Europe/Berlin", "Mars/Olympus"))
    assert "seconds after 1970" in terminal.type()
    terminal.type("run")


def test_without_a_channel(terminal: Terminal) -> None:
    paths = terminal.bench.paths
    settings = Settings(owner=Owner(name="anna"), device=Device(), server=Server(name="x.org"))
    save_toml(settings, paths.settings, mode=0o640)
    assert "without an update channel" in terminal.type("check", code=11)
    assert "no newer version" in terminal.type("install", code=11)
    assert "none: from a file or a stick" in terminal.type()


def test_a_server_that_does_not_answer(terminal: Terminal) -> None:
    (terminal.publisher.directory / "stable/index.cms").unlink()
    assert terminal.type("check", code=1)
    assert "trouble:" in terminal.type()
