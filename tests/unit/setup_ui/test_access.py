"""Claim, sign-in and sign-out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.state import Phase
from unit.setup_ui.appliance_under_test import CODE, PASSWORD, Appliance
from unit.setup_ui.browser import Browser


@pytest.fixture
def ready(reviewed: Browser, appliance: Appliance) -> Browser:
    """A browser that has signed out of a finished appliance."""
    reviewed.submit()
    appliance.provisioned(Phase.READY)
    return reviewed.get("/").submit(action="/sign-out")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "Type the claim code"),
        ("0000-0000", "This is not the claim code"),
        ("\u00e4\u00f6\u00fc\u2603", "This is not the claim code"),
    ],
)
def test_a_wrong_code_is_told_and_kept(browser: Browser, code: str, message: str) -> None:
    browser.get("/claim").submit(code=code)
    assert (browser.status, browser.path) == (422, "/claim")
    assert message in browser.error("code")
    assert browser.value("code") == code


def test_the_code_is_forgiven_its_capitals_and_hyphens(browser: Browser) -> None:
    browser.get("/claim").submit(code=f"  {CODE.upper().replace(' ', '-')} ")
    assert browser.path == "/setup/you"


def test_many_wrong_codes_wait_at_the_field(browser: Browser) -> None:
    browser.get("/claim")
    for _ in range(5):
        browser.submit(code="0000-0000")
    assert "Wait" in browser.error("code")


def test_the_source_of_a_guess_is_the_browsers_address(appliance: Appliance) -> None:
    attacker = Browser(appliance.app, source="127.0.0.9").get("/claim")
    for _ in range(5):
        attacker.submit(code="0000-0000")
    assert "Wait" in attacker.error("code")
    assert Browser(appliance.app).get("/claim").submit(code=CODE).path == "/setup/you"


def test_the_owner_signs_in_with_the_password(ready: Browser) -> None:
    assert ready.path == "/sign-in"
    ready.submit(password="not the one")
    assert ready.status == 422
    assert "not the owner" in ready.error("password")
    assert ready.submit(password=PASSWORD).path == "/done"


def test_an_empty_password_is_asked_for(ready: Browser) -> None:
    ready.submit(password="")
    assert "Type your password" in ready.error("password")


def test_signing_out_ends_the_session_at_the_agent(
    owner: Callable[[], Browser], appliance: Appliance
) -> None:
    browser = owner()
    cookie = browser.client.get_cookie("hearth_session", domain="hearth-ab12.local")
    assert cookie is not None
    browser.submit(action="/sign-out")
    assert browser.path == "/claim"
    browser.client.set_cookie("hearth_session", cookie.value, domain="hearth-ab12.local")
    assert browser.get("/setup/you").path == "/claim"


def test_signing_out_works_without_the_agent(
    owner: Callable[[], Browser], appliance: Appliance
) -> None:
    browser = owner()
    appliance.stop()
    browser.submit(action="/sign-out")
    assert browser.client.get_cookie("hearth_session", domain="hearth-ab12.local") is None


def test_a_finished_appliance_has_no_claim_page(ready: Browser) -> None:
    assert ready.get("/claim").path == "/sign-in"


def test_a_fresh_one_has_no_sign_in_page(browser: Browser) -> None:
    assert browser.get("/sign-in").path == "/claim"


@pytest.mark.parametrize("path", ["/done", "/recovery"])
def test_the_owners_pages_need_a_session(ready: Browser, path: str) -> None:
    assert ready.get(path).path == "/sign-in"
    assert "session has ended" in ready.text
