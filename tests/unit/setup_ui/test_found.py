"""Cards that hold an earlier Hearth's data, or data that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.bootreport import DataCondition
from unit.setup_ui.appliance_under_test import CODE, Appliance, running_appliance
from unit.setup_ui.browser import Browser


@pytest.fixture
def found() -> Iterator[Appliance]:
    with running_appliance(data=DataCondition.FOUND) as appliance:
        yield appliance


def test_old_data_are_the_first_page(found: Appliance) -> None:
    browser = Browser(found.app).get("/")
    assert browser.path == "/found"
    assert "This card holds an earlier Hearth" in browser.page.headings


def test_adopting_needs_the_old_owners_password(found: Appliance) -> None:
    browser = Browser(found.app).get("/found").submit(action="/found/adopt", password="")
    assert browser.status == 422
    assert "earlier owner" in browser.error("password")
    assert found.host.acts == []


def test_a_card_that_cannot_be_read_is_told_above_the_form(found: Appliance) -> None:
    browser = Browser(found.app).get("/found").submit(action="/found/adopt", password="whatever")
    assert browser.status in (409, 422)
    assert "Please check" in browser.text
    assert found.host.acts == []


def test_erasing_needs_the_claim_code_then_the_word(found: Appliance) -> None:
    browser = Browser(found.app).get("/found/erase")
    assert browser.path == "/claim"
    browser.submit(code=CODE)
    assert browser.path == "/found/erase"
    browser.submit(action="/found/erase", confirm="yes")
    assert browser.status == 422
    assert "Nothing has been erased" in browser.error("confirm")
    assert browser.value("confirm") == "yes"
    assert found.host.acts == []


def test_erasing_without_a_session_is_refused(found: Appliance) -> None:
    browser = Browser(found.app).get("/found")
    form = browser.page.forms[-1]
    browser.post("/found/erase", form.values | {"confirm": "erase"})
    assert browser.path == "/found"
    assert found.host.acts == []


@pytest.mark.parametrize("data", [DataCondition.DAMAGED, DataCondition.MISSING])
@pytest.mark.parametrize("path", ["/", "/setup/you"])
def test_unusable_data_lead_to_the_rescue_page(data: DataCondition, path: str) -> None:
    with running_appliance(data=data, detail="e2fsck gave up") as appliance:
        browser = Browser(appliance.app).get(path)
        assert browser.path == "/rescue"
        assert "Nothing was formatted, and nothing will be." in browser.text
        assert "e2fsck gave up" in browser.text


@pytest.mark.parametrize("path", ["/found", "/found/erase", "/rescue"])
def test_on_a_healthy_card_these_pages_lead_to_the_start(browser: Browser, path: str) -> None:
    assert browser.get(path).path == "/claim"


def test_the_restart_page_waits_for_another_process(appliance: Appliance) -> None:
    browser = Browser(appliance.app)
    instance = browser.get("/progress.json").response.json["instance"]
    assert browser.get(f"/restarting?was={instance}").path == "/restarting"
    assert browser.get("/restarting?was=earlier").path == "/claim"
