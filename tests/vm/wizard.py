"""An owner with a browser: the wizard in Chromium, page by page, with pictures."""

from __future__ import annotations

import atexit
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update",
         "--disable-sync"]  # fmt: skip
PAGE_SECONDS = 120
APPLY_SECONDS = 1500
OWNER = "anna"
PASSWORD = "correct horse battery staple"


@contextmanager
def chromium(program: str = CHROMIUM) -> Iterator[Browser]:
    browser = driver().chromium.launch(executable_path=program, args=FLAGS)
    yield browser
    browser.close()


@cache
def driver() -> Playwright:
    """One for the whole process: a second one, beside it, refuses to start."""
    playwright = sync_playwright().start()
    atexit.register(playwright.stop)
    return playwright


class Wizard:
    """Goes forward; ``pictures`` gets a PNG of every page."""

    def __init__(self, browser: Browser, url: str, pictures: Path, *, javascript: bool) -> None:
        context = browser.new_context(
            viewport={"width": 390, "height": 844},
            java_script_enabled=javascript,
            timezone_id="Europe/Berlin",
        )
        context.set_default_timeout(PAGE_SECONDS * 1000)
        self.page: Page = context.new_page()
        self.url = url
        self.pictures = pictures
        pictures.mkdir(parents=True, exist_ok=True)

    def heading(self, text: str, *, seconds: float = PAGE_SECONDS) -> None:
        expect(self.page.locator("h1")).to_have_text(re.compile(text), timeout=seconds * 1000)
        self.page.screenshot(path=self.pictures / f"{_slug(text)}.png", full_page=True)

    def send(self, **typed: str) -> None:
        for name, value in typed.items():
            self.page.fill(f"[name={name}]", value)
        self.page.click("main .button")

    def claim(self, code: str) -> None:
        self.page.goto(self.url)
        self.heading("Welcome. Is this appliance yours")
        self.send(code=code)

    def answer(self, software: str, server_name: str) -> None:
        """From "you" to the review."""
        self.heading("Who looks after this server")
        self.send(name=OWNER, password=PASSWORD, repeat=PASSWORD)
        self.heading("What does your network allow")
        self.send()
        self.heading("What is your server called")
        self.send(server_name=server_name)
        self.choose(software)

    def answer_public(self, software: str, server_name: str, token: str) -> str:
        """The same for a server of the world, with a name of DuckDNS; what the network allows."""
        self.heading("Who looks after this server")
        self.send(name=OWNER, password=PASSWORD, repeat=PASSWORD)
        self.heading("What does your network allow")
        network = self.finding("network")
        self.send()
        self.heading("What is your server called")
        self.page.check("[name=reach][value=public]")
        self.send(server_name=server_name)
        self.heading("Who makes the name lead here")
        self.send()  # the provider is chosen already: the name tells it
        self.heading("Your account at DuckDNS")
        self.send(secret=token)
        self.heading("Does the name lead here")
        self.finding("account")
        self.send()
        self.choose(software)
        return network

    def finding(self, name: str) -> str:
        """Wait until a check has ended; its verdict, and all that the page says."""
        found = self.page.locator("main .box h2")
        expect(found).to_be_visible(timeout=PAGE_SECONDS * 1000)
        self.page.screenshot(path=self.pictures / f"finding-{name}.png", full_page=True)
        return self.page.locator("main").inner_text()

    def choose(self, software: str) -> None:
        self.heading("Which homeserver")
        self.page.check(f"[name=software][value={software}]")
        self.send()
        self.heading("Does everything look right")

    def apply(self) -> None:
        """Press the button, watch the steps, end on the last page."""
        self.send()
        self.heading("Setting up your server")
        ended = re.compile("Your server is ready|Setup stopped")
        expect(self.page.locator("h1")).to_have_text(ended, timeout=APPLY_SECONDS * 1000)
        self.heading("Your server is ready", seconds=5)

    def download_recovery_file(self, passphrase: str) -> bytes:
        self.page.goto(f"{self.url}recovery")
        self.page.fill("[name=passphrase]", passphrase)
        self.page.fill("[name=repeat]", passphrase)
        with self.page.expect_download() as download:
            self.page.click("main .button")
        return Path(download.value.path()).read_bytes()


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")
