"""Rescue mode's page: everybody learns what is the matter, only the owner sees logs and acts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from appliance.aftercare import RestoreDatabase
from appliance.bootreport import DataCondition
from appliance.errors import AccessError
from appliance.settings import Device, Owner, Secrets, Server, Settings, save_toml
from appliance.slotstate import (
    ATTEMPTS_PRIMARY,
    ATTEMPTS_TRY,
    SlotState,
    newest,
    read_copies,
    write_next,
)
from appliance.state import Phase
from services.failures import Failure, save_failure
from services.passwords import hash_secret
from services.snapshots import prepare, record
from unit.setup_ui.appliance_under_test import CODE, PASSWORD, Appliance, running_appliance
from unit.setup_ui.browser import Browser

EMPTY = SlotState(seq=0, order=("B", "A"), left={"A": 0, "B": 0}, committed="A")
EMPTY_WRITTEN = replace(EMPTY, seq=1)


@pytest.fixture
def stopped() -> Iterator[Appliance]:
    """Both slots used up; set up long ago."""
    with running_appliance() as appliance:
        card = appliance.paths.root / "card"
        card.write_bytes(bytes(6 * 1024 * 1024))
        write_next(card, EMPTY)
        (appliance.paths.root / "proc").mkdir(exist_ok=True)
        (appliance.paths.root / "proc/cmdline").write_text("rauc.slot=A hearth.rescue=1\n")
        secrets = Secrets(owner_password_hash=hash_secret(PASSWORD))
        save_toml(secrets, appliance.paths.secrets, mode=0o600)
        appliance.provisioned(Phase.READY)
        appliance.report(DataCondition.OK, disk=card, rescue=True)
        failure = Failure(version="0.3.0", slot="B", reason="the homeserver <b>died</b>", at=1.0)
        save_failure(appliance.paths, failure, "journal line of slot B\n")
        yield appliance


def signed_in(appliance: Appliance) -> Browser:
    browser = Browser(appliance.app).get("/sign-in")
    return browser.submit(action="/sign-in", password=PASSWORD)


def links(browser: Browser) -> set[str]:
    return {attributes.get("href", "") for tag, attributes in browser.page.elements if tag == "a"}


def test_everybody_is_sent_to_it_and_nobody_sees_a_log(stopped: Appliance) -> None:
    browser = Browser(stopped.app).get("/")
    assert browser.path == "/rescue-mode"
    assert "This Hearth needs you" in browser.page.headings
    assert "journal line" not in browser.text
    assert browser.page.forms == []
    assert links(browser) >= {"/sign-in"}


def test_the_owner_sees_what_happened(stopped: Appliance) -> None:
    browser = signed_in(stopped)
    assert browser.path == "/rescue-mode"
    assert "The homeserver <b>died</b>." in browser.text, "shown as it is, not as markup"
    assert "journal line of slot B" in browser.text
    assert "slot B" in browser.text


def test_trying_again_gives_the_attempts_back_and_restarts(stopped: Appliance) -> None:
    browser = signed_in(stopped).submit(action="/rescue-mode/again")
    assert browser.path == "/restarting"
    assert stopped.host.acts == ["reboot"]
    state = newest(read_copies(stopped.paths.root / "card"))
    assert state is not None
    assert state.left == {"A": ATTEMPTS_PRIMARY, "B": 0}


def test_a_factory_reset_ends_rescue_mode_as_well(stopped: Appliance) -> None:
    browser = signed_in(stopped)
    assert "/reset" in links(browser)
    browser.get("/reset").submit(action="/reset", confirm="reset", keep="yes")
    assert browser.path == "/restarting"
    assert stopped.host.acts == ["reset"]
    state = newest(read_copies(stopped.paths.root / "card"))
    assert state is not None
    assert state.left["A"] == ATTEMPTS_PRIMARY


def test_a_stranger_cannot_try_again(stopped: Appliance) -> None:
    browser = Browser(stopped.app).get("/rescue-mode")
    answer = browser.client.post("/rescue-mode/again", data={"csrf": "x"})
    assert answer.status_code == 403
    assert stopped.host.acts == []


def test_before_setup_the_claim_code_opens_it(stopped: Appliance) -> None:
    stopped.provisioned(Phase.SETUP)
    stopped.agent.gate.claim_code.prepare(CODE)
    browser = Browser(stopped.app).get("/")
    assert links(browser) >= {"/claim"}
    browser.get("/claim").submit(action="/claim", code=CODE)
    assert browser.path == "/rescue-mode"
    assert "Try again" in browser.text


def test_data_that_need_help_come_first(stopped: Appliance) -> None:
    stopped.report(DataCondition.DAMAGED, "torn", rescue=True)
    assert Browser(stopped.app).get("/").path == "/rescue"


def test_outside_of_rescue_mode_there_is_no_such_page(stopped: Appliance) -> None:
    stopped.report(DataCondition.OK)
    assert Browser(stopped.app).get("/rescue-mode").path != "/rescue-mode"


def keep_snapshot(appliance: Appliance, *, identity: str, touched: str) -> None:
    """The database of before an update, which another program has used since."""
    place = appliance.paths.snapshots / "one"
    record.save_touched(appliance.paths, touched)
    place.mkdir()
    snapshot = record.Snapshot(name="one", identity=identity, successor=touched,
                               form=record.Form.DUMP, at=time.time() - 7300)  # fmt: skip
    record.save_snapshot(place, snapshot)


def slot_state(appliance: Appliance) -> SlotState:
    state = newest(read_copies(appliance.paths.root / "card"))
    assert state is not None
    return state


def test_the_owner_goes_back_to_before_the_update(stopped: Appliance) -> None:
    """The version that runs is the new one: the old one is in the other slot."""
    keep_snapshot(stopped, identity="synapse 0.1", touched="synapse 99")
    browser = signed_in(stopped)
    assert "synapse 0.1, 2 hours ago" in browser.text
    browser.submit(action="/rescue-mode/restore", confirm="yes")
    assert browser.status == 422
    assert "Nothing has been changed" in browser.error("confirm")
    assert (slot_state(stopped), record.load_restoring(stopped.paths)) == (EMPTY_WRITTEN, "")
    browser.submit(action="/rescue-mode/restore", confirm="Restore")
    assert browser.path == "/restarting"
    assert stopped.host.acts == ["reboot"]
    assert record.load_restoring(stopped.paths) == "one"
    state = slot_state(stopped)
    assert (state.order, state.committed) == (("B", "A"), "A")
    assert state.left == {"A": ATTEMPTS_PRIMARY, "B": ATTEMPTS_TRY}


def test_where_the_old_version_runs_it_is_started_again(
    stopped: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_snapshot(stopped, identity="synapse 0.1", touched="synapse 99")
    monkeypatch.setattr(prepare, "identity_of", lambda paths, homeserver: "synapse 0.1")
    settings = Settings(owner=Owner(name="anna"), device=Device(), server=Server(name="x.org"))
    save_toml(settings, stopped.paths.settings, mode=0o640)
    signed_in(stopped).submit(action="/rescue-mode/restore", confirm="restore")
    assert record.load_restoring(stopped.paths) == "one"
    assert slot_state(stopped).left == {"A": ATTEMPTS_PRIMARY, "B": 0}


@pytest.mark.parametrize("touched", ["", "synapse 0.1"])
def test_without_something_to_go_back_to_it_is_not_offered(
    stopped: Appliance, touched: str
) -> None:
    if touched:
        keep_snapshot(stopped, identity="synapse 0.1", touched=touched)
    browser = signed_in(stopped)
    assert {one.action for one in browser.page.forms} - {"/sign-out"} == {"/rescue-mode/again"}


def test_a_stranger_cannot_go_back(stopped: Appliance) -> None:
    keep_snapshot(stopped, identity="synapse 0.1", touched="synapse 99")
    browser = Browser(stopped.app).get("/rescue-mode")
    assert "synapse 0.1" not in browser.text
    with pytest.raises(AccessError):
        stopped.agent.handle(RestoreDatabase(session="none", confirm="restore"))
    assert record.load_restoring(stopped.paths) == ""
