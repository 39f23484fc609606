"""The wizard in Debian's Chromium: with and without JavaScript, two at once, by keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.answers import Judgement
from appliance.state import Phase, StepState
from unit.setup_ui.appliance_under_test import CODE, PASSWORD, Appliance, step
from unit.setup_ui.live import CHROMIUM, chromium, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed"),
]

DONE = step("database", StepState.DONE)
RUNNING = step("homeserver", StepState.RUNNING, detail="loading")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def url(appliance: Appliance) -> Iterator[str]:
    with serving(appliance.app) as found:
        yield found


def open_page(browser: Browser, url: str, *, javascript: bool = True) -> Page:
    page = browser.new_context(
        java_script_enabled=javascript, timezone_id="Asia/Kolkata"
    ).new_page()
    page.goto(url)
    return page


def send(page: Page, **typed: str) -> None:
    for name, value in typed.items():
        page.fill(f"[name={name}]", value)
    page.click("main .button")


def answer_all(page: Page) -> None:
    send(page, code=CODE)
    send(page, name="anna", password=PASSWORD, repeat=PASSWORD)
    send(page)
    send(page, server_name="home.example.org")
    send(page)
    expect(page.locator("h1")).to_have_text("Does everything look right?")


@pytest.mark.parametrize("javascript", [True, False])
def test_the_whole_wizard(
    browser: Browser, appliance: Appliance, url: str, javascript: bool
) -> None:
    page = open_page(browser, url, javascript=javascript)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    answer_all(page)
    zone = "Asia/Kolkata" if javascript else "UTC"
    expect(page.locator(".answers")).to_contain_text(zone)
    page.go_back()
    expect(page.locator("h1")).to_have_text("Which homeserver shall it run?")
    page.go_forward()
    page.reload()
    send(page)
    expect(page.locator("h1")).to_have_text("Setting up your server")
    appliance.provisioned(Phase.APPLYING, DONE, RUNNING)
    expect(page.locator(".running")).to_contain_text("loading", timeout=15_000)
    appliance.provisioned(Phase.READY, DONE)
    expect(page.locator("h1")).to_have_text("Your server is ready", timeout=15_000)
    assert faults == [], "nothing breaks the content security policy"
    page.context.close()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_public_server(
    browser: Browser, appliance: Appliance, url: str, javascript: bool
) -> None:
    """Pages that wait for a check go on by themselves, with a script and without."""
    page = open_page(browser, url, javascript=javascript)
    page.set_viewport_size({"width": 390, "height": 844})
    send(page, code=CODE)
    send(page, name="anna", password=PASSWORD, repeat=PASSWORD)
    expect(page.locator("h1")).to_have_text("What does your network allow?")
    appliance.network_is("")
    expect(page.locator(".box h2")).to_contain_text("neither PCP", timeout=15_000)
    page.locator("summary").click()
    expect(page.locator("details li").last).to_be_visible()
    send(page)
    page.check("[name=reach][value=public]")
    send(page, server_name="myhome.duckdns.org")
    expect(page.locator("[name=provider]")).to_have_value("duckdns")
    page.select_option("[name=provider]", "noip")
    send(page)
    send(page, username="anna", secret="token")
    expect(page.locator("h1")).to_have_text("Does the name lead here?")
    appliance.account_is(Judgement.GOOD, "good", "No-IP knows it.")
    expect(page.locator(".box h2")).to_have_text("No-IP knows it.", timeout=15_000)
    inside = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert not javascript or page.evaluate(inside)
    send(page)
    expect(page.locator("h1")).to_have_text("How does the world get in?")
    assert not javascript or page.evaluate(inside)
    send(page)
    send(page)
    expect(page.locator(".answers")).to_contain_text("No-IP; token or password chosen")
    page.go_back()
    expect(page.locator("h1")).to_have_text("Which homeserver shall it run?")
    page.context.close()


def test_progress_survives_a_restart_of_agent_and_pages(
    browser: Browser, appliance: Appliance
) -> None:
    with serving(appliance.app) as url:
        port = int(url.rpartition(":")[2])
        page = open_page(browser, url)
        answer_all(page)
        send(page)
        expect(page.locator("h1")).to_have_text("Setting up your server")
        appliance.stop()
    expect(page.locator("#headline")).to_contain_text("restarting", timeout=15_000)
    appliance.start()
    with serving(appliance.app, port):
        appliance.provisioned(Phase.APPLYING, DONE, RUNNING)
        expect(page.locator("#headline")).to_have_text("Step 2 of 2: Homeserver", timeout=15_000)
        failed = step("homeserver", StepState.FAILED, error="No space left.", hint="retry")
        appliance.provisioned(Phase.FAILED, DONE, failed)
        expect(page.locator("h1")).to_have_text("Setup stopped", timeout=15_000)
        expect(page.locator(".failed .error")).to_contain_text("No space left.")
        send(page)
        expect(page.locator("h1")).to_have_text("Setting up your server")
        page.context.close()


@pytest.mark.parametrize("javascript", [True, False])
def test_two_browsers_at_once(browser: Browser, url: str, javascript: bool) -> None:
    one, two = (open_page(browser, url, javascript=javascript) for _ in range(2))
    send(one, code=CODE)
    send(two, code=CODE)
    send(two, name="anna", password=PASSWORD, repeat=PASSWORD)
    send(one, name="bob", password=PASSWORD, repeat=PASSWORD)
    expect(one.locator("[role=alert]")).to_contain_text("Administrator name: now anna")
    expect(one.locator("[name=name]")).to_have_value("bob")
    send(one, password=PASSWORD, repeat=PASSWORD)
    expect(one.locator("h1")).to_have_text("What does your network allow?")
    for page in (one, two):
        page.context.close()


def test_a_page_that_is_opened_while_the_agent_is_away_comes_back(
    browser: Browser, appliance: Appliance, url: str
) -> None:
    appliance.stop()
    page = open_page(browser, url, javascript=False)
    expect(page.locator("h1")).to_have_text("One moment")
    appliance.start()
    expect(page.locator("h1")).to_have_text("Welcome. Is this appliance yours?", timeout=20_000)
    page.context.close()


def test_the_keyboard_reaches_everything_in_reading_order(browser: Browser, url: str) -> None:
    page = open_page(browser, url)
    send(page, code=CODE)
    expect(page.locator("h1")).to_have_text("Who looks after this server?")
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(document.activeElement.name || document.activeElement.textContent).trim()"
            )
        )
    assert reached == ["Skip to the content", "Hearth", "Sign out", "name", "timezone",
                       "password", "repeat", "Continue"]  # fmt: skip
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#name-error")).to_contain_text("Choose a name")
    page.context.close()


def test_the_strength_of_a_password_is_told_in_words(browser: Browser, url: str) -> None:
    page = open_page(browser, url)
    send(page, code=CODE)
    words = page.locator("#password-words")
    for typed, told in (
        ("abc", "7 characters more."),
        ("aaaaaaaaaaaa", "too few different"),
        ("kitchen-door", "Acceptable"),
        (PASSWORD, "Strong."),
    ):
        page.fill("[name=password]", typed)
        expect(words).to_contain_text(told)
    page.context.close()


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, url: str, width: int) -> None:
    page = open_page(browser, url)
    page.set_viewport_size({"width": width, "height": 800})
    send(page, code=CODE)
    long_name = "a-very-long-name." * 10 + "example.org"
    page.goto(f"{url}/setup/server")
    send(page, server_name=long_name)
    paths = ("/claim", "/setup/you", "/setup/network", "/setup/server", "/setup/homeserver",
             "/no-such-page")  # fmt: skip
    for path in paths:
        page.goto(url + path)
        inside = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(inside), path
    page.context.close()


def test_a_browser_that_was_on_https_can_go_on_over_http(
    browser: Browser, appliance: Appliance
) -> None:
    """Browsers refuse a plain cookie in place of a Secure one of the same name (RFC 6265bis,
    5.7); the claim page offers HTTPS, and a typed address leads to HTTP."""
    with serving(appliance.app) as plain, serving(appliance.app, tls=True) as encrypted:
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.goto(encrypted.replace("127.0.0.1", "hearth.local"))
        send(page, code=CODE)
        expect(page.locator("h1")).to_have_text("Who looks after this server?")
        page.goto(plain.replace("127.0.0.1", "hearth.local"))
        send(page, code=CODE)
        expect(page.locator("h1")).to_have_text("Who looks after this server?")
        send(page, name="anna", password=PASSWORD, repeat=PASSWORD)
        expect(page.locator("h1")).to_have_text("What does your network allow?")
        page.goto(encrypted.replace("127.0.0.1", "hearth.local"))
        expect(page.locator("h1")).to_have_text("What does your network allow?")
        page.context.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "hearth.local"])
def test_the_rented_servers_script_is_copied_whole(
    browser: Browser, appliance: Appliance, url: str, host: str
) -> None:
    """Over plain HTTP a browser lends no clipboard; what is selected can be copied all the same."""
    page = open_page(browser, url.replace("127.0.0.1", host))
    send(page, code=CODE)
    send(page, name="anna", password=PASSWORD, repeat=PASSWORD)
    appliance.network_is("100.64.1.2")
    send(page)
    page.check("[name=reach][value=public]")
    send(page, server_name="myhome.duckdns.org")
    page.goto(f"{page.url.partition('?')[0]}?provider=duckdns")
    send(page, secret="a-token")
    page.goto(page.url.replace("address/check", "way"))
    page.check("[name=way][value=tunnel]")
    send(page)
    send(page, server="198.51.100.7")
    page.click("[data-copy]")
    expect(page.locator("[data-copy]")).to_have_text("Copied")
    script = page.input_value("#script")
    assert script.endswith("sh /root/hearth-vps.sh\n")
    page.go_back()
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.focus("body > textarea")
    page.keyboard.press("Control+V")
    assert page.input_value("body > textarea") == script
    page.context.close()
