"""The job that looks whether other servers get in: when it looks, when it asks, what it leaves."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.answers import Judgement
from appliance.errors import NetworkError
from appliance.paths import Paths
from appliance.settings import Public, Reach, Software, Tunnel, Way, load_settings, save_toml
from appliance.state import Phase, State, save_state
from firstboot.doctor import run as examine
from firstboot.federation import PAUSES, Outdoors, Plan, check_own, plan, run_check
from services.acme.contract import AcmeState
from services.federation.fetch import Fault
from services.federation.result import MEMORY, RESULT, Cause, FederationResult
from services.federation.tester import DAY, PAUSE, Answer, Connection, Memory
from services.health.federation import FederationCheck
from services.health.result import Verdict
from services.homeserver import find_homeserver
from services.portmap.contract import Held
from services.portmap.contract import State as Ports
from services.portmap.mapper import PORTS
from services.reach import PORTMAP, PortmapResult
from services.results import load_result, save_result
from unit.services.appliance_files import OVERLAY, RecordedUnits, make_appliance
from unit.services.federation.bench import Bench
from unit.services.federation.home import NAME, NAMES, OURS, Home

NOW = time.time()
NEWS = ("state",)
GOOD = Answer(is_ok=True, connections=(Connection(address=f"{OURS}:443"),))
SILENT = Answer(
    is_ok=False,
    connections=(Connection(address=f"{OURS}:443", fault=Fault.SILENT, said="timeout"),),
)
HTTPS = next(port for port in PORTS if port.external == 443)


def last(judgement: Judgement = Judgement.GOOD, at: float = NOW) -> FederationResult:
    return FederationResult(
        name=NAME, at=at, judgement=judgement, cause=Cause.GOOD, sentence="", news=NEWS
    )


def asked(at: float = NOW) -> Memory:
    return Memory(asked=at, answered=at, news=NEWS, answer=GOOD)


# ---- when


@pytest.mark.parametrize(
    ("before", "memory", "after", "look", "ask"),
    [
        (None, Memory(), 0.0, True, True),
        (last(), asked(), 60.0, False, False),
        (last(), asked(), DAY - 1, False, False),
        (last(), asked(), DAY, True, True),
        (last(Judgement.BAD), asked(), PAUSES[Judgement.BAD] - 1, False, False),
        (last(Judgement.BAD), asked(), PAUSES[Judgement.BAD], True, False),
        (last(Judgement.UNSURE), asked(), PAUSES[Judgement.UNSURE], True, False),
        (None, asked(), 60.0, True, False),
        (last(at=NOW + DAY), asked(), 60.0, True, False),
    ],
    ids=["first", "just looked", "nearly a day", "a day", "bad", "bad, later", "unsure, later",
         "result lost", "clock set back"],
)  # fmt: skip
def test_it_looks_seldom_and_asks_less_often(
    before: FederationResult | None, memory: Memory, after: float, look: bool, ask: bool
) -> None:
    assert plan(before, memory, NEWS, NOW + after, wanted=False) == Plan(look=look, ask=ask)


def test_news_and_the_owner_make_it_look_at_once() -> None:
    assert plan(last(), asked(), ("new",), NOW + 60, wanted=False) == Plan(look=True, ask=False)
    assert plan(last(), asked(), ("new",), NOW + PAUSE, wanted=False) == Plan(look=True, ask=True)
    assert plan(last(), asked(), NEWS, NOW + 60, wanted=True) == Plan(look=True, ask=False)
    assert plan(last(), asked(), NEWS, NOW + PAUSE, wanted=True) == Plan(look=True, ask=True)


# ---- what


class Outside:
    """A tester that counts; ``answer`` None stands for one that is away."""

    def __init__(self) -> None:
        self.answer: Answer | None = GOOD
        self.questions: list[str] = []

    def ask(self, name: str) -> Answer:
        self.questions.append(name)
        if self.answer is None:
            raise NetworkError("the federation tester cannot be reached")
        return self.answer


class Box:
    """An appliance in files whose own door is on the loopback."""

    def __init__(self, root: Path, bench: Bench) -> None:
        self.paths = make_appliance(root, reach=Reach.PUBLIC)
        self.home = Home(bench, NOW)
        self.outside = Outside()
        self.publish(Public(sub_names=True))
        save_state(State(phase=Phase.READY), self.paths.state)
        wan = {"wan": {"ipv4": OURS}}
        self.paths.results.mkdir()
        (self.paths.results / "address.json").write_text(json.dumps(wan))
        held = (Held(port=HTTPS, lease=3600, renewed=0.0),)
        save_result(self.paths, PORTMAP, PortmapResult(ports=Ports(held=held)))
        self.certify(NOW + 60 * DAY)

    def publish(self, public: Public) -> None:
        settings = load_settings(self.paths.settings)
        assert settings is not None
        changed = replace(settings, public=public, server=replace(settings.server, name=NAME))
        save_toml(changed, self.paths.settings, mode=0o640)

    def certify(self, ends: float) -> None:
        save_result(self.paths, "acme", AcmeState(certified=NAMES.all, ends=ends))

    def check(self, after: float = 0.0, *, wanted: bool = False) -> FederationResult | None:
        outdoors = Outdoors(eyes=self.home.eyes, ask=self.outside.ask)
        return check_own(self.paths, NOW + after, wanted=wanted, save=True, outdoors=outdoors)


@pytest.fixture
def box(tmp_path: Path, bench: Bench) -> Box:
    return Box(tmp_path / "box", bench)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as made:
        yield made


def test_a_good_day(box: Box) -> None:
    found = box.check()
    assert found is not None
    assert (found.judgement, found.cause) == (Judgement.GOOD, Cause.GOOD)
    assert found.seen_from_outside
    assert load_result(box.paths, RESULT, FederationResult) == found
    assert box.outside.questions == [NAME]
    assert box.check(3600.0) == found, "nothing is due"
    assert box.outside.questions == [NAME]
    assert box.check(DAY) != found
    assert box.outside.questions == [NAME] * 2


def test_the_owner_sees_the_homeserver_fail_at_once_without_asking_anybody(box: Box) -> None:
    box.check()
    box.home.starting()
    found = box.check(60.0, wanted=True)
    assert found is not None
    assert found.cause is Cause.HOMESERVER_DOWN
    assert box.outside.questions == [NAME]


def test_a_lying_router(box: Box) -> None:
    box.outside.answer = SILENT
    found = box.check()
    assert found is not None
    assert (found.judgement, found.cause) == (Judgement.BAD, Cause.NOTHING_ARRIVES)
    assert "restart the router" in found.next_step
    [finding] = examine(box.paths, RecordedUnits(), checks=[FederationCheck()]).findings
    assert finding.verdict is Verdict.FAIL
    assert f"{OURS}:443: no answer in time" in finding.evidence


def test_behind_a_tunnel_nobody_is_sent_to_the_router(box: Box) -> None:
    """Even where the router's ports of before have not been given back yet."""
    box.publish(Public(way=Way.TUNNEL, tunnel=Tunnel(server=OURS), sub_names=True))
    box.outside.answer = SILENT
    found = box.check()
    assert found is not None
    assert (found.judgement, found.cause) == (Judgement.BAD, Cause.CLOSED)
    assert "rented server" in found.sentence
    assert "router" not in found.sentence + found.next_step
    [finding] = examine(box.paths, RecordedUnits(), checks=[FederationCheck()]).findings
    assert finding.hint == found.next_step


def test_a_tester_that_is_away(box: Box) -> None:
    box.outside.answer = None
    found = box.check()
    assert found is not None
    assert (found.judgement, found.cause) == (Judgement.UNSURE, Cause.INSIDE_ONLY)
    assert "cannot be reached" in found.parts[0].detail
    memory = load_result(box.paths, MEMORY, Memory)
    assert memory is not None
    assert (memory.failures, memory.asked) == (1, NOW)
    # It was asked, whatever came of it.
    box.outside.answer = GOOD
    again = box.check(PAUSE - 1, wanted=True)
    assert again is not None
    assert again.cause is Cause.INSIDE_ONLY
    again = box.check(PAUSE)
    assert again is not None
    assert again.cause is Cause.GOOD


def test_a_new_certificate_is_news(box: Box) -> None:
    box.check()
    box.certify(NOW + 61 * DAY)
    found = box.check(PAUSE)
    assert found is not None
    assert box.outside.questions == [NAME] * 2


def test_what_was_said_about_another_state_does_not_count(box: Box) -> None:
    """A new certificate five minutes later: the tester may not be asked again yet."""
    box.check()
    box.certify(NOW + 61 * DAY)
    found = box.check(300.0)
    assert found is not None
    assert (found.cause, found.seen_from_outside) == (Cause.INSIDE_ONLY, False)
    assert len(box.outside.questions) == 1


def test_the_check_opens_no_secret_and_could_not(box: Box) -> None:
    """It reads strangers' answers: what it never knew it cannot tell."""
    box.paths.secrets.unlink()
    box.paths.secrets.mkdir()  # whoever opens it now fails
    key = find_homeserver(Software.SYNAPSE).signing_key(box.paths)
    key.unlink()
    key.mkdir()
    found = box.check()
    assert found is not None
    assert found.cause is Cause.GOOD
    real = Paths()
    real_key = find_homeserver(Software.SYNAPSE).signing_key(real)
    for unit in ("hearth-federation", "hearth-federation-check"):
        text = (OVERLAY / f"usr/lib/systemd/system/{unit}.service").read_text()
        [hidden] = re.findall(r"^InaccessiblePaths=(.+)$", text, re.MULTILINE)
        places = [Path(one.removeprefix("-")) for one in hidden.split()]
        assert real.secrets in places
        assert any(place in real_key.parents for place in places)


@pytest.mark.parametrize("public", [Public(way=Way.HOME), None], ids=["home", "lan"])
def test_nobody_is_asked_about_a_server_of_the_home(box: Box, public: Public | None) -> None:
    if public is None:
        settings = load_settings(box.paths.settings)
        assert settings is not None
        lan = replace(settings, public=None, server=replace(settings.server, reach=Reach.LAN))
        save_toml(lan, box.paths.settings, mode=0o640)
    else:
        box.publish(public)
    assert box.check(wanted=True) is None
    assert not box.outside.questions
    report = examine(box.paths, RecordedUnits(), checks=[FederationCheck()])
    assert report.verdict is Verdict.OK


def test_before_the_first_look_doctor_says_so(box: Box) -> None:
    [finding] = examine(box.paths, RecordedUnits(), checks=[FederationCheck()]).findings
    assert finding.verdict is Verdict.WARN


def test_the_verb_for_a_server_of_the_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = make_appliance(tmp_path)
    assert run_check(paths, NOW, "", as_json=False, save=False, due=False) == 0
    assert "nothing to check" in capsys.readouterr().out
    assert not Paths(tmp_path).results.exists()
