"""What the tests with machines share."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from playwright.sync_api import Browser

from vm.guest import CLAIM_CODE, Guest
from vm.wizard import Wizard, chromium

SERIAL_SHOWN = 4000  # characters


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def provision(guest: Guest, browser: Browser, software: str, *, javascript: bool) -> Wizard:
    """The whole evening in the wizard, up to "Your server is ready"."""
    pictures = guest.directory / f"pictures-{software}"
    wizard = Wizard(browser, guest.url(), pictures, javascript=javascript)
    wizard.claim(CLAIM_CODE)
    wizard.answer(software, guest.mdns_name())
    try:
        wizard.apply()
    except AssertionError:
        guest.save_journal(f"failed-{software}")
        raise
    return wizard


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside a failure, the end of what each machine said: CI keeps nothing but what is printed."""
    report = yield
    if report.failed:
        fixtures = getattr(item, "funcargs", {})
        guests = [value for value in fixtures.values() if isinstance(value, Guest)]
        for guest in guests:
            if guest.machine is not None:
                title = f"serial console of {guest.directory.name}"
                report.sections.append((title, guest.serial[-SERIAL_SHOWN:]))
    return report
