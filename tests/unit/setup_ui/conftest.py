"""Fixtures: an appliance whose agent runs, and browsers in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from services import passwords
from unit.setup_ui.appliance_under_test import CODE, PASSWORD, Appliance, running_appliance
from unit.setup_ui.browser import Browser


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every agent hashes a claim code. The real price is paid in services/test_passwords.py."""
    monkeypatch.setattr(passwords, "COST", 16)


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    with running_appliance() as found:
        yield found


@pytest.fixture(scope="session")
def shared() -> Iterator[Appliance]:
    """For requests that are refused: nothing about it changes, so one is enough for all tests."""
    with running_appliance() as found:
        yield found


@pytest.fixture
def outsider(shared: Appliance) -> Browser:
    """A new browser in front of the shared appliance."""
    return Browser(shared.app)


@pytest.fixture
def browser(appliance: Appliance) -> Browser:
    return Browser(appliance.app)


@pytest.fixture
def owner(appliance: Appliance) -> Callable[[], Browser]:
    """A new browser that has claimed."""

    def claim() -> Browser:
        return Browser(appliance.app).get("/claim").submit(code=CODE)

    return claim


@pytest.fixture
def reviewed(owner: Callable[[], Browser]) -> Browser:
    """A browser on the review page, everything answered."""
    browser = owner()
    browser.submit(name="anna", timezone="Europe/Berlin", password=PASSWORD, repeat=PASSWORD)
    browser.submit(action="/setup/network")
    browser.submit(server_name="home.example.org")
    return browser.submit(software="synapse")
