"""One appliance with Dendrite that is updated from release to release, every write recorded.

The fixtures follow each other as the owner's days do: a release is published, installed, tried and
proved; from the recording come the cards of any moment in between. Each is made once for a file of
tests, when its first test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from imagebuild.context import Context
from vm.guest import make_directory
from vm.logwrites import parse_log
from vm.recorded import Recorded
from vm.refused import make_stranger
from vm.releases import Workshop
from vm.times import Times
from vm.update_story import DENDRITE_KEY, NEW, NOTES, OLD, Installed, Proved, Shop
from vm.updated import Updated
from vm.updateserver import UpdateServer


@pytest.fixture(scope="module")
def directory(request: pytest.FixtureRequest, context: Context) -> Path:
    return make_directory(context, request.path.stem.removeprefix("test_"))


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
def stranger(shop: Shop) -> Workshop:
    return make_stranger(shop.workshop)


@pytest.fixture(scope="module")
def home(shop: Shop, directory: Path, times: Times, browser: Browser) -> Iterator[Updated]:
    """Set up with the first release; a message was written."""
    with times.part("building the first release"):
        release = shop.workshop.build(OLD)
    guest = Updated(release, directory / "virt", write_log=directory / "writes.log")
    (directory / "writes.log").touch()
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


@pytest.fixture(scope="module")
def published(shop: Shop) -> Path:
    """The second release, where the appliance finds it; its bundle."""
    shop.workshop.publish(shop.bundle, notes=NOTES)
    [bundle] = shop.workshop.site.rglob("*.raucb")
    return bundle


@pytest.fixture(scope="module")
def installed(home: Updated, shop: Shop, published: Path, times: Times) -> Installed:
    """By a machine that no time server has told the year, as well as by any other."""
    assert home.update("check")["error"] == ""
    home.ssh("sync")
    assert home.write_log is not None
    begin = len(parse_log(home.write_log))
    since = shop.server.now()
    with times.part("installing"), home.in_1970():
        state = home.update("install", "--again")
    share = shop.server.sent(".raucb", since=since) / published.stat().st_size
    times.note("downloaded, of the whole bundle", share * 100, "%")
    return Installed(begin, share, state, home.ssh("cat", "/run/hearth/boot"))


@pytest.fixture(scope="module")
def proved(home: Updated, installed: Installed, times: Times, is_long: bool) -> Proved:
    """Restarted into what was installed; with --long after an ordinary restart, to compare."""
    assert installed.state["stage"] == "installed"
    usual = 0.0
    if is_long:
        with home.watching() as watch:
            home.reboot()
            home.messages()
        usual = watch.seconds
        times.note("interruption by a restart", usual)
    with home.watching() as updating:
        home.restart_into_update()
        outcome = home.wait_for_outcome(1)
        messages = home.messages()
    times.note("interruption by the update", updating.seconds)
    key = home.ssh("sha256sum", DENDRITE_KEY)
    return Proved(usual, updating.seconds, outcome, messages, key)


@pytest.fixture(scope="module")
def is_long(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--long"))


@pytest.fixture(scope="module")
def recorded(home: Updated, installed: Installed, proved: Proved) -> Recorded:
    """All that was written up to here, after an orderly end."""
    assert proved.outcome["result"] == "committed"
    home.switch_off()
    assert home.write_log is not None
    log, home.write_log = home.write_log, None
    return Recorded(
        directory=home.directory, flashed=home.image, log=log, entries=parse_log(log),
        begin=installed.begin,
    )  # fmt: skip


@pytest.fixture(scope="module")
def offered(recorded: Recorded) -> Path:
    """The card just before the installation began."""
    return recorded.card(recorded.begin, recorded.directory / "offered.img")


@pytest.fixture(scope="module")
def tried(recorded: Recorded) -> Path:
    """The card between the two systems: the next start is the first of slot B."""
    return recorded.card(recorded.tried(), recorded.directory / "tried.img")


@pytest.fixture(scope="module")
def updated(recorded: Recorded) -> Path:
    """The card after the update, switched off."""
    return recorded.card(len(recorded.entries), recorded.directory / "updated.img")
