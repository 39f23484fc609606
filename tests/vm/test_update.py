"""Updates of the shipping image, release to release: found, downloaded, tried, kept or undone.

In order, on one appliance with Dendrite. What is broken is broken in the installed slot just before
its first start, from a snapshot of the moment at which it waits for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from imagebuild.context import Context
from vm.guest import BOOT_SECONDS, make_directory
from vm.releases import Workshop
from vm.times import Times
from vm.updated import MESSAGE, Updated
from vm.updateserver import UpdateServer
from vm.wizard import PAGE_SECONDS, PASSWORD

# Not in CI yet: RAUC 1.13 cannot read how kernels from 6.19 on tell the state of a dm-verity device
# ("V -", it expects "V"), so nothing is installed on the device so far.
pytestmark = [pytest.mark.vm, pytest.mark.long, pytest.mark.timeout(3000)]

OLD, NEW = "1.0.0", "1.1.0"
INSTALLED = "installed"
DENDRITE_KEY = "/data/homeserver/dendrite/signing.key"
CHECK_MOST = 2000  # bytes, there and back
SHARE_MOST = 0.12
INTERRUPTION_MOST = 1.5  # in times of an ordinary restart


@dataclass
class Shop:
    workshop: Workshop
    server: UpdateServer
    bundle: Path


@pytest.fixture(scope="module")
def directory(context: Context) -> Path:
    return make_directory(context, "update")


@pytest.fixture(scope="module")
def times(directory: Path) -> Times:
    return Times(directory / "times.json")


@pytest.fixture(scope="module")
def shop(directory: Path, times: Times) -> Iterator[Shop]:
    server = UpdateServer(directory / "shop/site", directory / "nginx")
    workshop = Workshop(directory / "shop", server.url)
    workshop.open()
    with times.part("building the second release"):
        source = workshop.source(NEW)
        change(source)
        bundle = workshop.bundle(workshop.build(NEW, source))
    with server:
        yield Shop(workshop, server, bundle)


def change(source: Path) -> None:
    """One Python package and one template, as in a small release."""
    module = source / "setup-ui/setup_ui/pages/done.py"
    module.write_text(module.read_text() + "\n\nSINCE = 'the second release'\n")
    template = source / "setup-ui/setup_ui/templates/done.html"
    template.write_text(template.read_text().replace("Two things are left", "Two more things"))


@pytest.fixture(scope="module")
def home(shop: Shop, directory: Path, times: Times, browser: Browser) -> Iterator[Updated]:
    """Set up with the first release; a message was written."""
    with times.part("building the first release"):
        release = shop.workshop.build(OLD)
    guest = Updated(release, directory / "virt")
    guest.flash()
    guest.start()
    try:
        guest.wait_for_pages()
        guest.wait_for_ssh()
        with times.part("setting up"):
            guest.set_up(browser)
        yield guest
    finally:
        guest.save_journal("last")
        guest.stop()


def test_nothing_new_costs_next_to_nothing(home: Updated, shop: Shop, times: Times) -> None:
    first = home.update("check")
    assert first["error"] == ""
    assert "offer" not in first
    since = shop.server.now()
    assert home.update("check")["error"] == ""
    asked = shop.server.asked(since=since)
    assert {one.status for one in asked} == {304}, asked
    size = sum(one.received + one.sent for one in asked)
    times.note("a check with nothing new", size, "bytes")
    assert size <= CHECK_MOST


def test_only_what_has_changed_is_downloaded(home: Updated, shop: Shop, times: Times) -> None:
    shop.workshop.publish(shop.bundle, notes="The second release.")
    offer = home.update("check")["offer"]
    assert offer["facts"]["version"] == NEW
    assert offer["notes"] == "The second release."
    since = shop.server.now()
    with times.part("installing"):
        state = home.update("install")
    assert (state["stage"], state["slot"], state["version"]) == ("installed", "B", NEW)
    share = shop.server.sent(".raucb", since=since) / shop.bundle.stat().st_size
    times.note("downloaded, of the whole bundle", share * 100, "%")
    assert share <= SHARE_MOST
    assert "slot=A" in home.ssh("cat", "/run/hearth/boot"), "nothing changes before the restart"
    assert home.machine is not None
    home.machine.save_snapshot(INSTALLED)


def test_the_new_version_proves_itself(home: Updated, times: Times) -> None:
    with home.watching() as usual:
        home.reboot()
        home.messages()
    with home.watching() as updating:
        home.restart_into_update()
        outcome = home.wait_for_outcome(1)
    assert (outcome["result"], outcome["version"], outcome["slot"]) == ("committed", NEW, "B")
    times.note("interruption by a restart", usual.seconds)
    times.note("interruption by the update", updating.seconds)
    assert "slot=B" in home.ssh("cat", "/run/hearth/boot")
    status = home.update()
    assert (status["version"], status["update"]["stage"]) == (NEW, "idle")
    slot = status["slot"]
    assert (slot["primary"], slot["committed"], slot["valid_copies"]) == ("B", True, 2)
    assert MESSAGE in home.messages()
    assert home.ssh("systemctl", "--failed", "--no-legend").strip() == ""
    assert updating.seconds <= INTERRUPTION_MOST * usual.seconds


@dataclass(frozen=True)
class Fault:
    """``script`` runs in the root of slot B; ``reason`` must be part of what the owner is told."""

    script: str
    reason: str


FAULTS = {
    "no-init": Fault("rm -f usr/lib/systemd/systemd usr/sbin/init", "start"),
    "homeserver": Fault(
        "printf '#!/bin/sh\\nexec sleep infinity\\n' > usr/lib/hearth/dendrite/dendrite",
        "homeserver",
    ),
    "panic": Fault("echo nothing > boot/initramfs", "start"),
    "unit": Fault(
        "printf '[Service]\\nExecStart=/bin/false\\n' > etc/systemd/system/broken.service;"
        "ln -s ../broken.service etc/systemd/system/multi-user.target.wants/", "broken.service",
    ),
    "pages": Fault("rm usr/lib/python3/dist-packages/setup_ui/app.py", "pages"),
    "network": Fault("ln -sf /dev/null etc/systemd/system/systemd-networkd.service", "network"),
    "hang": Fault(
        "printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nExecStart=/bin/kill -SEGV 1\\n'"
        " > etc/systemd/system/hang.service;"
        "ln -s ../hang.service etc/systemd/system/sysinit.target.wants/", "start",
    ),
}  # fmt: skip
IN_CI = ("no-init", "homeserver")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in IN_CI else pytest.mark.long) for name in FAULTS],
)
def test_what_is_bad_is_undone(home: Updated, times: Times, name: str) -> None:
    fault = FAULTS[name]
    home.save_journal(f"before-{name}")
    home.stop()
    home.start(snapshot=INSTALLED)
    home.wait_for_ssh()
    home.broken(fault.script)
    with times.part(f"{name}: undone"):
        home.restart_into_update()
        outcome = home.wait_for_outcome(1)
    print(f"{name}: {outcome['reason']}")
    assert (outcome["result"], outcome["version"], outcome["slot"]) == ("rolled-back", NEW, "B")
    assert fault.reason in outcome["reason"].lower()
    status = home.update()
    assert (status["version"], status["slot"]["booted"]) == (OLD, "A")
    assert status["slot"]["committed"]
    assert status["update"]["stage"] == "idle"
    assert MESSAGE in home.messages()
    assert home.ssh("systemctl", "--failed", "--no-legend").strip() == ""


def test_a_card_flashed_over_comes_back_with_its_owners_password(
    home: Updated, browser: Browser
) -> None:
    """Only the image's own blocks are written, as bmaptool does; the data lies where it lay."""
    key = home.ssh("sha256sum", DENDRITE_KEY)
    home.switch_off()
    home.flash_over()
    home.start()
    home.wait_for_pages()
    assert "data=found" in home.ssh("cat", "/run/hearth/boot")
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(home.url())
    expect(page.locator("h1")).to_have_text("This card holds an earlier Hearth")
    page.screenshot(path=home.directory / "found.png", full_page=True)
    page.fill("[name=password]", "not the password at all")
    page.click("main form .button")
    expect(page.locator("#password-error")).to_be_visible(timeout=PAGE_SECONDS * 1000)
    page.fill("[name=password]", PASSWORD)
    page.click("main form .button")
    expect(page.locator("h1")).to_have_text("Sign in", timeout=BOOT_SECONDS * 1000)
    page.context.close()
    assert "data=ok" in home.ssh("cat", "/run/hearth/boot")
    assert home.ssh("sha256sum", DENDRITE_KEY) == key
    assert MESSAGE in home.messages()
