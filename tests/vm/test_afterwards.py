"""What an owner may do later on an appliance in use: an update from a stick, and factory resets.

On cards of the recorded update (update_fixtures.py), each in a machine of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.deadline import wait_until
from appliance.fate import RESET_WORD
from appliance.layout import GIB
from appliance.run import run
from appliance.slotstate import newest, read_copies, write_next
from imagebuild.emulate import find_address_line
from imagebuild.vm import tool
from vm.guest import BOOT_SECONDS, CLAIM_CODE
from vm.times import Times
from vm.update_story import DENDRITE_KEY, NEW, OLD, Proved, Shop
from vm.updated import MESSAGE, Updated
from vm.wizard import PAGE_SECONDS, PASSWORD

pytest_plugins = ["vm.update_fixtures"]
pytestmark = [pytest.mark.vm, pytest.mark.long, pytest.mark.timeout(3000)]

NOBODYS = "Welcome. Is this appliance yours?"


def make_stick(home: Updated, bundle: Path, target: Path) -> Path:
    """Formatted as sticks are sold, with the bundle at its top."""
    tools = home.context.tools.resolve()
    with target.open("wb") as file:
        file.truncate(GIB)
    run([*tool(tools, "mkfs.vfat"), "-n", "STICK", target])
    run([*tool(tools, "mcopy"), "-i", target, bundle, "::/hearth-1.1.0.raucb"])
    return target


def test_an_update_from_a_stick(home: Updated, shop: Shop, offered: Path, times: Times) -> None:
    """Plugged in while it runs, where no update server answers."""
    shop.server.stop()
    twin = home.twin("stick", offered, lambda card: None)
    stick = make_stick(home, shop.bundle, twin.directory / "stick.img")
    twin.extra = (
        "-device", "qemu-xhci,id=usb",
        "-drive", f"if=none,id=stick,format=raw,readonly=on,file={stick}",
    )  # fmt: skip
    try:
        with twin.running() as guest:
            guest.wait_for_version(OLD)
            assert guest.machine is not None
            guest.machine.command("device_add", driver="usb-storage", drive="stick", id="plugged")
            with times.part("copying and verifying from the stick"):
                wait_until(
                    lambda: guest.update()["offered_by_stick"] == NEW,
                    seconds=600, what="the stick's offer", every=3,
                )  # fmt: skip
            guest.machine.command("device_del", id="plugged")
            assert guest.update("install")["stage"] == "installed"
            guest.restart_into_update()
            assert guest.wait_for_outcome(1)["result"] == "committed"
            guest.check_well(version=NEW, slot="B")
            assert MESSAGE in guest.messages()
    finally:
        shop.server.start()


@contextmanager
def started(guest: Updated) -> Iterator[Updated]:
    with guest.running():
        guest.wait_for_version(NEW)
        yield guest


@contextmanager
def signed_in(guest: Updated, browser: Browser) -> Iterator[Page]:
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.set_default_timeout(PAGE_SECONDS * 1000)
    page.goto(guest.url("/sign-in"))
    page.fill("[name=password]", PASSWORD)
    page.click("main form .button")
    expect(page.locator("h1")).not_to_have_text("Sign in", timeout=PAGE_SECONDS * 1000)
    try:
        yield page
    finally:
        page.context.close()


def begin_anew(page: Page, guest: Updated, *, keep: str) -> None:
    page.goto(guest.url("/reset"))
    page.check(f"[name=keep][value={keep}]")
    page.fill("[name=confirm]", RESET_WORD)
    page.click("main form .button")
    expect(page.locator("h1")).to_have_text(NOBODYS, timeout=BOOT_SECONDS * 1000)


def test_a_reset_from_the_page_and_its_way_back(
    home: Updated, updated: Path, proved: Proved, browser: Browser, times: Times
) -> None:
    with (
        started(home.twin("reset", updated, lambda card: None)) as guest,
        signed_in(guest, browser) as page,
    ):
        with times.part("a factory reset, up to the claim page"):
            begin_anew(page, guest, keep="yes")
        page.screenshot(path=guest.directory / "reset.png", full_page=True)
        page.click("text=Bring back what was there before")
        page.fill("[name=password]", "not the password at all")
        page.click("main form .button")
        expect(page.locator("#password-error")).to_be_visible(timeout=PAGE_SECONDS * 1000)
        page.fill("[name=password]", PASSWORD)
        page.click("main form .button")
        expect(page.locator("h1")).to_have_text("Sign in", timeout=BOOT_SECONDS * 1000)
        guest.wait_for_ssh()
        assert guest.ssh("sha256sum", DENDRITE_KEY) == proved.key
        assert MESSAGE in guest.messages()


def test_a_file_on_the_card_resets_it_for_good(home: Updated, updated: Path) -> None:
    """Written as by a computer that the card was put into; the power goes right after."""
    with started(home.twin("file", updated, lambda card: None)) as guest:
        guest.ssh("sh", "-ec", "mount -o remount,rw /boot/firmware; "
                  "touch /boot/firmware/hearth-reset.txt; sync")  # fmt: skip
        guest.stop()
        guest.start()
        wait_until(lambda: NOBODYS in page_of(guest), seconds=2 * BOOT_SECONDS,
                   what="the claim page", every=2)  # fmt: skip
        assert "Bring back" not in page_of(guest)
        line = find_address_line(guest.serial)
        assert line is not None
        assert "claim code" in line
        assert CLAIM_CODE not in line, "of the first owner"


def test_rescue_mode_resets(home: Updated, updated: Path, browser: Browser) -> None:
    def use_up(card: Path) -> None:
        state = newest(read_copies(card))
        assert state is not None
        write_next(card, replace(state, left={"A": 0, "B": 0}))

    with home.twin("rescued", updated, use_up).running() as guest:
        wait_until(guest.is_rescued, seconds=BOOT_SECONDS, what="the page of rescue mode", every=2)
        with signed_in(guest, browser) as page:
            page.screenshot(path=guest.directory / "rescue.png", full_page=True)
            begin_anew(page, guest, keep="no")


def page_of(guest: Updated) -> str:
    assert guest.machine is not None
    guest.machine.check_running()
    try:
        return guest.get("/", seconds=30)[1].decode()
    except (OSError, subprocess.SubprocessError):
        return ""
