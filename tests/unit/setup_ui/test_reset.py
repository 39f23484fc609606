"""The pages of a factory reset, with the real agent behind them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.bootreport import DataCondition
from appliance.settings import Secrets, save_toml
from appliance.state import Phase
from firstboot.reset_card import perform
from services.passwords import hash_secret
from services.reset import load_order
from unit.setup_ui.appliance_under_test import CODE, PASSWORD, Appliance, running_appliance
from unit.setup_ui.browser import Browser


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    """Set up, with an owner who can sign in."""
    with running_appliance() as made:
        for place in (made.paths.system, made.paths.update):
            place.mkdir()
        secrets = Secrets(owner_password_hash=hash_secret(PASSWORD))
        save_toml(secrets, made.paths.secrets, mode=0o600)
        made.provisioned(Phase.READY)
        yield made


def signed_in(appliance: Appliance) -> Browser:
    return Browser(appliance.app).get("/sign-in").submit(password=PASSWORD)


def restart(appliance: Appliance) -> None:
    appliance.stop()
    perform(appliance.paths)
    appliance.start()


@pytest.mark.parametrize("keep", ["yes", "no"])
def test_the_owner_types_the_word(appliance: Appliance, keep: str) -> None:
    browser = signed_in(appliance).get("/reset")
    assert "Begin anew?" in browser.page.headings
    browser.submit(action="/reset", confirm="Reset", keep=keep)
    assert browser.path == "/restarting"
    order = load_order(appliance.paths)
    assert order is not None
    assert order.keep is (keep == "yes")
    assert appliance.host.acts[-1] == "reset"


def test_a_reset_that_could_not_begin_is_told(appliance: Appliance) -> None:
    appliance.report(DataCondition.OK, "the factory reset could not begin, and nothing was changed")
    browser = signed_in(appliance)
    for page in ("/done", "/reset"):
        browser.get(page)
        assert "The factory reset could not begin" in browser.text, page
    status = appliance.agent.status() if appliance.agent else None
    assert status is not None
    assert any("could not begin" in note for note in status.notes)


@pytest.mark.parametrize("confirm", ["", "erase", "yes"])
def test_any_other_word_resets_nothing(appliance: Appliance, confirm: str) -> None:
    browser = signed_in(appliance).get("/reset")
    browser.submit(action="/reset", confirm=confirm, keep="no")
    assert browser.status == 422
    assert "Nothing has been reset" in browser.error("confirm")
    assert load_order(appliance.paths) is None


def test_strangers_are_sent_away(appliance: Appliance) -> None:
    browser = Browser(appliance.app).get("/reset")
    assert browser.path == "/sign-in"
    form = browser.page.forms[-1]
    browser.post("/reset", {"csrf": form.values["csrf"], "confirm": "reset", "keep": "no"})
    assert load_order(appliance.paths) is None
    assert "reset" not in appliance.host.acts


def test_the_way_back_is_on_the_first_page(appliance: Appliance) -> None:
    signed_in(appliance).get("/reset").submit(action="/reset", confirm="reset", keep="yes")
    restart(appliance)
    browser = Browser(appliance.app).get("/")
    assert browser.path == "/claim"
    assert "Bring back what was there before" in browser.text
    browser.get("/reset/back")
    assert "24 more hours" in browser.text
    browser.submit(action="/reset/back", password="")
    assert "Type the password" in browser.error("password")
    browser.submit(action="/reset/back", password="wrong horse")
    assert browser.status == 422
    assert "not the password" in browser.error("password")


def test_the_way_back_works(appliance: Appliance) -> None:
    signed_in(appliance).get("/reset").submit(action="/reset", confirm="reset", keep="yes")
    restart(appliance)
    browser = Browser(appliance.app).get("/reset/back")
    browser.submit(action="/reset/back", password=PASSWORD)
    assert browser.path == "/restarting"
    restart(appliance)
    assert signed_in(appliance).path == "/done"
    assert Browser(appliance.app).get("/reset/back").path == "/sign-in", "nothing is kept any more"


def test_damaged_data_can_be_given_up_but_not_kept() -> None:
    with running_appliance(data=DataCondition.DAMAGED) as appliance:
        browser = Browser(appliance.app).get("/")
        assert "Or begin anew" in browser.text
        assert browser.get("/reset").path == "/claim"
        browser.submit(code=CODE)
        assert browser.path == "/reset"
        assert "copy the card first" in browser.text
        assert "keep them for a day" not in browser.text
        # The card is no Hearth card here, and that is told above the form.
        browser.submit(action="/reset", confirm="reset")
        assert browser.status == 422
        assert "Please check" in browser.text
        assert appliance.host.acts == []


@pytest.mark.parametrize("data", [DataCondition.FOUND, DataCondition.MISSING])
def test_other_cards_have_other_pages(data: DataCondition) -> None:
    with running_appliance(data=data) as appliance:
        assert Browser(appliance.app).get("/reset").path != "/reset"
