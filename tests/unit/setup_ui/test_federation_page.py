"""Page "federation": what was seen of our server, told to its owner, and looked at again."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from appliance.answers import Judgement
from appliance.settings import Public, Reach, Way, load_settings, save_toml
from appliance.state import Phase
from services.federation.judge import EXPLANATIONS
from services.federation.result import RESULT, Cause, FederationResult, Part
from services.results import save_result
from setup_ui.pages.federation import render_age
from unit.setup_ui.appliance_under_test import Appliance
from unit.setup_ui.browser import Browser


def found(appliance: Appliance, cause: Cause, *parts: Part) -> None:
    """What hearth-federation.service would leave."""
    settings = load_settings(appliance.paths.settings)
    assert settings is not None
    explained = EXPLANATIONS[cause]
    result = FederationResult(
        name=settings.server.name,
        at=time.time() - 130,
        judgement=explained.judgement,
        cause=cause,
        sentence=explained.sentence,
        next_step=explained.next_step,
        asked=time.time() - 7300,
        parts=parts,
    )
    save_result(appliance.paths, RESULT, result)


@pytest.fixture
def ready(reviewed: Browser, appliance: Appliance) -> Browser:
    """Signed in, set up, and public."""
    reviewed.submit()
    appliance.provisioned(Phase.READY)
    publish(appliance, Public())
    return reviewed


def publish(appliance: Appliance, public: Public | None) -> None:
    settings = load_settings(appliance.paths.settings)
    assert settings is not None
    server = replace(settings.server, reach=Reach.PUBLIC if public else Reach.LAN)
    changed = replace(settings, server=server, public=public)
    save_toml(changed, appliance.paths.settings, mode=0o640)


def test_before_anybody_has_looked(ready: Browser) -> None:
    ready.get("/federation")
    assert ready.status == 200
    assert "Nobody has looked yet" in ready.text
    assert "federationtester.matrix.org" in ready.text, "who is told the name, before it is told"


def test_what_was_seen_is_told_with_its_next_step(ready: Browser, appliance: Appliance) -> None:
    detail = "203.0.113.7:443: i/o timeout & <script>"
    part = Part(name="outside", title="Seen from outside", judgement=Judgement.BAD, detail=detail)
    found(appliance, Cause.NOTHING_ARRIVES, part)
    ready.get("/federation")
    explained = EXPLANATIONS[Cause.NOTHING_ARRIVES]
    for text in (explained.sentence, explained.next_step, detail, "2 minutes ago", "2 hours ago"):
        assert text in ready.text, text
    assert "<script>" not in ready.response.text.partition("<main")[2]


def test_looking_again(ready: Browser, appliance: Appliance) -> None:
    found(appliance, Cause.INSIDE_ONLY)
    ready.get("/federation").submit(action="/federation/check")
    assert ready.path == "/federation"
    assert appliance.host.checks[-1:] == ["federation"]
    assert "Looking from inside and outside" in ready.text
    assert EXPLANATIONS[Cause.INSIDE_ONLY].sentence in ready.text, "the last finding stays"
    assert not [one for one in ready.page.forms if one.action == "/federation/check"]
    ready.post("/federation/check", {"csrf": ready.page.forms[0].values["csrf"]})
    assert appliance.host.checks.count("federation") == 1, "one at a time"
    assert ready.client.get("/federation/state.json", base_url=ready.origin,
                            environ_base=ready.environ).json == {"state": "running"}  # fmt: skip
    found(appliance, Cause.GOOD)
    ready.get("/federation")
    assert EXPLANATIONS[Cause.GOOD].sentence in ready.text
    assert [one for one in ready.page.forms if one.action == "/federation/check"]


def test_the_last_page_leads_there(ready: Browser, appliance: Appliance) -> None:
    found(appliance, Cause.GOOD)
    ready.get("/done")
    assert "Other servers can talk to yours" in ready.text
    assert 'href="/federation"' in ready.response.text


@pytest.mark.parametrize("public", [None, Public(way=Way.HOME)], ids=["lan", "home"])
def test_a_server_for_the_home(ready: Browser, appliance: Appliance, public: Public | None) -> None:
    publish(appliance, public)
    ready.get("/federation")
    assert "for your home only" in ready.text
    assert not [one for one in ready.page.forms if one.action == "/federation/check"]
    ready.get("/done")
    ready.post("/federation/check", {"csrf": ready.page.forms[0].values["csrf"]})
    assert ready.status == 409
    assert "federation" not in appliance.host.checks


def test_only_for_the_owner(ready: Browser, appliance: Appliance) -> None:
    found(appliance, Cause.GOOD)
    visitor = Browser(appliance.app).get("/federation")
    assert visitor.path != "/federation"
    assert EXPLANATIONS[Cause.GOOD].sentence not in visitor.text


def test_before_the_end_it_leads_back(browser: Browser) -> None:
    assert browser.get("/federation").path == "/claim"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "just now"), (59, "just now"), (60, "1 minute ago"), (7199, "1 hour ago"),
     (7200, "2 hours ago"), (86400 * 3, "3 days ago")],
)  # fmt: skip
def test_ages(seconds: float, words: str) -> None:
    assert render_age(seconds) == words
