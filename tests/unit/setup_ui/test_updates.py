"""Page "updates": what runs, what is offered, how far it is, and the owner's wishes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from appliance.release import Bundle, Channel, Release, ReleaseFacts
from appliance.settings import load_settings
from appliance.state import Phase
from appliance.update import Outcome, Result, Stage, UpdateState
from services.results import save_result
from services.update.channel import RESULT, CheckResult
from services.update.lock import update_lock
from services.update.state import add_outcome, save_update
from services.update.stick import RESULT as STICK
from services.update.stick import StickResult
from unit.setup_ui.appliance_under_test import Appliance
from unit.setup_ui.browser import Browser

INDEX = "https://updates.example.org/hearth/stable/index.cms"
NOTES = "Synapse 1.170 & fixes <script>alert(1)</script>"


@pytest.fixture
def ready(reviewed: Browser, appliance: Appliance) -> Browser:
    """Signed in and set up."""
    reviewed.submit()
    appliance.provisioned(Phase.READY)
    return reviewed


def checked(appliance: Appliance, version: str = "", **more: object) -> None:
    """What a look at the channel would leave."""
    offer = None
    if version:
        offer = Release(
            facts=ReleaseFacts(version=version),
            bundle=Bundle(
                url=f"https://updates.example.org/{version}", size=200_000_000, sha256=""
            ),
            published="2026-11-20T00:00:00Z",
            notes=NOTES,
        )
    now = time.time()
    result = CheckResult(at=now, checked_at=now - 7300, source=INDEX, offer=offer)
    save_result(appliance.paths, RESULT, replace(result, **more))


def stands(appliance: Appliance, stage: Stage, **more: object) -> None:
    state = UpdateState(stage=stage, version="0.2.0", slot="B")
    save_update(appliance.paths, replace(state, **more))


def forms(browser: Browser) -> set[str]:
    return {one.action for one in browser.page.forms} - {"/sign-out"}


def test_nothing_new(ready: Browser, appliance: Appliance) -> None:
    checked(appliance)
    ready.get("/updates")
    assert ready.status == 200
    for text in ("Version 0.1.0", "slot A", "2 hours ago", "This is the newest version"):
        assert text in ready.text, text
    assert forms(ready) == {"/updates/check", "/updates/settings"}
    ready.submit(action="/updates/check")
    assert (ready.path, appliance.host.checks[-1]) == ("/updates", "look for an update")


def test_an_offer_is_installed_on_a_click(ready: Browser, appliance: Appliance) -> None:
    checked(appliance, "0.2.0")
    ready.get("/updates")
    assert "Version 0.2.0 is there" in ready.text
    assert "At most 200 MB" in ready.text
    assert NOTES in ready.text
    assert "<script>alert" not in ready.response.text
    ready.submit(action="/updates/install")
    assert (ready.path, appliance.host.acts[-1]) == ("/updates", "install an update")


def test_what_is_wrong_with_a_stick_is_told(ready: Browser, appliance: Appliance) -> None:
    checked(appliance)
    bad = StickResult(at=1.0, trouble="hearth.raucb: it is <b>not</b> signed", hint="ask again")
    save_result(appliance.paths, STICK, bad)
    ready.get("/updates")
    assert "The USB stick could not be used" in ready.text
    assert "hearth.raucb: it is <b>not</b> signed. Ask again." in ready.text


def test_only_what_is_on_offer(ready: Browser, appliance: Appliance) -> None:
    checked(appliance, "0.2.0")
    ready.get("/updates")
    checked(appliance, "0.3.0")
    ready.submit(action="/updates/install")
    assert ready.status == 422
    assert "0.2.0 is not on offer any more" in ready.text
    assert "install an update" not in appliance.host.acts


def test_one_at_a_time(ready: Browser, appliance: Appliance) -> None:
    checked(appliance, "0.2.0")
    ready.get("/updates")
    with update_lock(appliance.paths):
        ready.submit(action="/updates/install")
        assert ready.status == 422
        assert "under way already" in ready.text
        assert "install an update" not in appliance.host.acts
        ready.get("/updates")
        assert forms(ready) == {"/updates/settings"}
        assert 'http-equiv="refresh"' in ready.response.text, "without JavaScript"


def state(browser: Browser) -> dict[str, object]:
    answer = browser.client.get("/updates/state.json", base_url=browser.origin,
                                environ_base=browser.environ)  # fmt: skip
    return dict(answer.json or {})


def test_progress(ready: Browser, appliance: Appliance) -> None:
    checked(appliance, "0.2.0")
    stands(appliance, Stage.INSTALLING, percent=40, message="Copying image to rootfs.1")
    ready.get("/updates")
    assert "Installing version 0.2.0" in ready.text
    assert 'value="40"' in ready.response.text
    assert forms(ready) == {"/updates/settings"}
    before = state(ready)
    assert (before["percent"], before["message"]) == (40, "Copying image to rootfs.1")
    stands(appliance, Stage.INSTALLING, percent=41)
    assert state(ready)["key"] == before["key"], "the bar moves, the page stays"
    stands(appliance, Stage.INSTALLED)
    assert state(ready)["key"] != before["key"]


def test_the_restart(ready: Browser, appliance: Appliance) -> None:
    stands(appliance, Stage.INSTALLED)
    ready.get("/updates")
    assert "between 03:00 and 05:00" in ready.text
    ready.submit(action="/updates/restart")
    assert "The appliance is restarting" in ready.text
    assert appliance.host.acts[-1] == "restart into an update"


def test_no_restart_without_an_installed_version(ready: Browser, appliance: Appliance) -> None:
    stands(appliance, Stage.INSTALLED)
    ready.get("/updates")
    stands(appliance, Stage.IDLE)
    ready.submit(action="/updates/restart")
    assert ready.status == 422
    assert "No new version is installed" in ready.text
    assert "restart into an update" not in appliance.host.acts


def test_a_trial(ready: Browser, appliance: Appliance) -> None:
    stands(appliance, Stage.TRIAL)
    ready.get("/updates")
    assert "Version 0.2.0 is on trial" in ready.text
    assert "comes back by itself" in ready.text


def test_why_it_came_to_nothing(ready: Browser, appliance: Appliance) -> None:
    checked(appliance, error="updates.example.org does not answer", hint="is the line up?")
    ready.get("/updates")
    assert "does not answer" in ready.text
    assert "Is the line up?" in ready.text
    assert "newest version" not in ready.text


def test_the_history(ready: Browser, appliance: Appliance) -> None:
    outcome = Outcome(
        result=Result.ROLLED_BACK, version="0.2.0", from_version="0.1.0", slot="B",
        at=time.time() - 90000, reason="the homeserver did not answer", database="restored",
    )  # fmt: skip
    add_outcome(appliance.paths, outcome)
    ready.get("/updates")
    for text in ("taken back", "1 day ago", "The homeserver did not answer", "was restored"):
        assert text in ready.text, text


def test_the_owners_wishes(ready: Browser, appliance: Appliance) -> None:
    ready.get("/updates")
    ready.submit(action="/updates/settings", automatic="no", first="22:00", last="01:00",
                 channel="beta")  # fmt: skip
    settings = load_settings(appliance.paths.settings)
    assert settings is not None
    saved = settings.updates
    assert (saved.automatic, saved.window, saved.channel) == (False, "22:00-01:00", Channel.BETA)
    stands(appliance, Stage.INSTALLED)
    ready.get("/updates")
    assert "only when you say so" in ready.text


def test_a_window_that_is_none(ready: Browser, appliance: Appliance) -> None:
    ready.get("/updates")
    token = ready.page.forms[0].values["csrf"]
    wrong = {"csrf": token, "automatic": "yes", "first": "3", "last": "05:00", "channel": "x"}
    ready.post("/updates/settings", wrong)
    assert ready.status == 422
    assert "is no time of day" in ready.text
    settings = load_settings(appliance.paths.settings)
    assert settings is not None
    assert settings.updates.window == "03:00-05:00"


def test_an_image_without_a_channel(ready: Browser, appliance: Appliance) -> None:
    appliance.paths.image_facts.write_text('{"version": "0.1.0", "boot_interface": 1}')
    ready.get("/updates")
    assert "USB stick" in ready.text
    assert forms(ready) == {"/updates/settings"}


def test_only_for_the_owner(ready: Browser, appliance: Appliance) -> None:
    visitor = Browser(appliance.app).get("/updates")
    assert visitor.path != "/updates"
    assert "0.1.0 runs" not in visitor.text


def test_before_the_end_it_leads_back(owner: Callable[[], Browser]) -> None:
    assert owner().get("/updates").path == "/setup/you"
