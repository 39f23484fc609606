"""Updates of the shipping image, release to release: found, downloaded, tried, kept or undone.

In order, on one appliance with Dendrite, whose every write is recorded (update_fixtures.py). From
the recording come the cards on which the new version is broken just before its first start, and
those of power cuts.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from appliance.deadline import wait_until
from appliance.layout import BOOTFS, DATA, SLOT_B, STATE_OFFSETS, STATE_SIZE, Partition
from appliance.slotstate import newest, read_copies, write_next
from imagebuild.context import Context
from vm.faults import FAULTS, break_slot, shorten_verdict
from vm.guest import BOOT_SECONDS
from vm.powercut import UnsoundError
from vm.recorded import Recorded, strays
from vm.refused import ANSWERS, BUNDLES, Kitchen, half_an_answer
from vm.releases import Workshop
from vm.times import Times
from vm.update_story import DENDRITE_KEY, NEW, NEXT, NOTES, OLD, Installed, Proved, Shop
from vm.updatecuts import Cards, Judge, choose_cuts
from vm.updated import MESSAGE, Updated
from vm.wizard import PAGE_SECONDS, PASSWORD

pytest_plugins = ["vm.update_fixtures"]
pytestmark = [pytest.mark.vm, pytest.mark.timeout(3000)]

CHECK_MOST = 2000  # bytes, there and back
SHARE_MOST = 0.12
INTERRUPTION_MOST = 1.5  # in times of an ordinary restart
CUTS, CUTS_LONG = 300, 3000
# One of each kind; all of them with --long. (What a verdict sees: tests/world/test_verdict.py.)
IN_CI = ("no-init", "redirect", "stranger")
# The partition table's sector, which the first boot completes.
TABLE = Partition(number=0, name="table", start=0, size=4096, mbr_type=0, label="")


def some_of(names: Iterable[str]) -> pytest.MarkDecorator:
    """Those in IN_CI always, the others with --long."""
    each = [pytest.param(name, marks=() if name in IN_CI else pytest.mark.long) for name in names]
    return pytest.mark.parametrize("name", each)


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


@some_of(ANSWERS)
def test_a_server_that_talks_nonsense_is_told_of(
    home: Updated, shop: Shop, stranger: Workshop, name: str
) -> None:
    lines, reason = ANSWERS[name]
    with shop.server.saying(lines.replace("STRANGER", str(stranger.site))):
        error = home.update("check", check=False)["error"]
    assert reason in error, error
    assert home.update("check")["error"] == ""


@pytest.mark.long
def test_half_an_answer_is_none(home: Updated, shop: Shop) -> None:
    with half_an_answer(shop.server):
        assert home.update("check", check=False)["error"] != ""
    assert home.update("check")["error"] == ""


@pytest.mark.usefixtures("published")
def test_a_release_is_offered(home: Updated) -> None:
    offer = home.update("check")["offer"]
    assert offer["facts"]["version"] == NEW
    assert offer["notes"] == NOTES


@some_of(BUNDLES)
def test_a_bundle_that_is_not_right_is_refused(
    home: Updated, shop: Shop, published: Path, stranger: Workshop, name: str
) -> None:
    spoil, reason = BUNDLES[name]
    spoil(Kitchen(shop.workshop, stranger, home.context, shop.bundle), published)
    try:
        home.update("install", "--again", check=False)
    finally:
        shutil.copyfile(shop.bundle, published)
    update = home.update()["update"]
    assert update["stage"] == "idle"
    assert reason in update["error"], update["error"]
    slot = home.update()["slot"]
    assert (slot["primary"], slot["committed"]) == ("A", True)


@pytest.mark.long
def test_a_full_card_takes_no_update(home: Updated) -> None:
    home.ssh("sh", "-ec", "set -- $(df --output=avail -k /data | tail -n 1);"
             " fallocate -l $(($1 - 102400))K /data/filler")  # fmt: skip
    try:
        home.update("install", "--again", check=False)
        assert "are free on the card" in home.update()["update"]["error"]
    finally:
        home.ssh("rm", "/data/filler")


def test_only_what_has_changed_is_downloaded(installed: Installed) -> None:
    state = installed.state
    assert (state["stage"], state["slot"], state["version"]) == ("installed", "B", NEW)
    assert installed.share <= SHARE_MOST
    assert "slot=A" in installed.booted, "nothing changes before the restart"


def test_the_new_version_proves_itself(home: Updated, proved: Proved) -> None:
    outcome = proved.outcome
    assert (outcome["result"], outcome["version"], outcome["slot"]) == ("committed", NEW, "B")
    home.check_well(version=NEW, slot="B")
    assert MESSAGE in proved.messages


@pytest.mark.long
def test_an_update_interrupts_as_a_restart_does(proved: Proved) -> None:
    assert 0 < proved.updating <= INTERRUPTION_MOST * proved.usual


def test_only_the_other_slot_is_written(recorded: Recorded) -> None:
    assert strays(recorded.entries[: recorded.begin], BOOTFS, DATA, TABLE) == []
    trial = recorded.tried()
    assert strays(recorded.entries[recorded.begin : trial], BOOTFS, DATA, SLOT_B) == []
    assert strays(recorded.entries[trial:], BOOTFS, DATA) == []


@some_of(FAULTS)
def test_what_is_bad_is_undone(home: Updated, tried: Path, times: Times, name: str) -> None:
    fault = FAULTS[name]

    def spoil(card: Path) -> None:
        break_slot(card, fault.script)
        shorten_verdict(card, 2)

    with home.twin(name, tried, spoil).running() as guest:
        with times.part(f"{name}: undone"):
            outcome = guest.wait_for_outcome(1)
        print(f"{name}: {outcome['reason']}")
        assert (outcome["result"], outcome["version"]) == ("rolled-back", NEW)
        assert outcome["slot"] == "B"
        assert fault.reason in outcome["reason"].lower()
        guest.check_well(version=OLD, slot="A")
        assert MESSAGE in guest.messages()


@pytest.mark.long  # boot.scr's part of it: test_uboot.py
@pytest.mark.parametrize("damaged", [1, 2], ids=["newer", "both"])
def test_a_damaged_slot_state_changes_nothing(home: Updated, updated: Path, damaged: int) -> None:
    """With one copy the other counts; without any, slot A starts, and sends back to slot B."""

    def spoil(card: Path) -> None:
        copies = read_copies(card)
        newer_first = sorted((0, 1), key=lambda number: copies[number] != newest(copies))
        with card.open("r+b") as file:
            for number in newer_first[:damaged]:
                file.seek(STATE_OFFSETS[number])
                file.write(random.Random(number).randbytes(STATE_SIZE))

    with home.twin(f"damaged-{damaged}", updated, spoil).running() as guest:
        guest.wait_for_version(NEW)
        wait_until(lambda: guest.update()["slot"]["committed"], seconds=BOOT_SECONDS,
                   what="slot B's new proof", every=5)  # fmt: skip
        guest.check_well(version=NEW, slot="B")
        assert MESSAGE in guest.messages()


@pytest.mark.long
def test_two_bad_slots_leave_a_page_that_helps(home: Updated, updated: Path) -> None:
    def use_up(card: Path) -> None:
        state = newest(read_copies(card))
        assert state is not None
        write_next(card, replace(state, left={"A": 0, "B": 0}))

    with home.twin("rescue", updated, use_up).running() as guest:
        wait_until(guest.is_rescued, seconds=BOOT_SECONDS, what="the page of rescue mode", every=2)
        guest.wait_for_ssh()
        assert "rescue=1" in guest.ssh("cat", "/run/hearth/boot")
        assert "slot=B" in guest.ssh("cat", "/run/hearth/boot")


def test_power_cuts_leave_one_system_or_the_other(
    recorded: Recorded, context: Context, times: Times, pytestconfig: pytest.Config
) -> None:
    """Replayed writes, some lost, some torn; killing QEMU would lose nothing."""
    count = CUTS_LONG if pytestconfig.getoption("--long") else CUTS
    seed = os.environ.get("HEARTH_SEED") or str(random.SystemRandom().getrandbits(32))
    cuts = choose_cuts(recorded, count, seed)
    work = recorded.directory / "cuts"
    work.mkdir(exist_ok=True)
    cards = Cards(recorded, context.tools.resolve(), work)
    judge, failures, ends = Judge(cards, NEW), [], Counter[str]()
    with times.part(f"{len(cuts)} power cuts, HEARTH_SEED={seed}"):
        for cut, pieces in cards.each(cuts):
            try:
                ends[judge.judge(cut, pieces)] += 1
            except UnsoundError as error:
                failures.append(f"{cut}: {error}")
    print(*(f"{number:4} {end}" for end, number in ends.most_common()), sep="\n")
    assert not failures, f"{len(failures)} of {len(cuts)} cuts:\n" + "\n".join(failures[:20])
    assert {end[:6] for end in ends} == {"slot A", "slot B"}


@pytest.mark.long
def test_a_power_cut_for_real(home: Updated, recorded: Recorded, times: Times) -> None:
    """In the middle of the first start of the new version, which is then tried again."""
    position = (recorded.tried() + recorded.states[-1][0]) // 2
    card = recorded.card(position, recorded.directory / "cut.img")
    with home.twin("cut", card, lambda card: None).running() as guest:
        with times.part("a power cut in the trial"):
            outcome = guest.wait_for_outcome(1)
        assert (outcome["result"], outcome["version"]) == ("committed", NEW)
        guest.check_well(version=NEW, slot="B")
        assert MESSAGE in guest.messages()


@pytest.mark.long
def test_an_orderly_restart_in_the_trial_costs_no_attempt(home: Updated, tried: Path) -> None:
    with home.twin("orderly", tried, lambda card: None).running() as guest:
        guest.wait_for_version(NEW)
        before = guest.update()["slot"]["left"]["B"]
        guest.reboot()
        assert guest.update()["slot"]["left"]["B"] == before
        assert guest.wait_for_outcome(1)["result"] == "committed"


@pytest.mark.long
def test_the_next_update_leads_back_to_slot_a(
    home: Updated, shop: Shop, updated: Path, times: Times
) -> None:
    shop.workshop.publish(shop.workshop.bundle(shop.workshop.build(NEXT)))
    with home.twin("back", updated, lambda card: None).running() as guest:
        guest.wait_for_version(NEW)
        assert guest.update("check")["offer"]["facts"]["version"] == NEXT
        with times.part("installing once more"):
            assert guest.update("install")["slot"] == "A"
        guest.restart_into_update()
        outcome = guest.wait_for_outcome(2)
        assert (outcome["result"], outcome["version"]) == ("committed", NEXT)
        guest.check_well(version=NEXT, slot="A")
        assert MESSAGE in guest.messages()


@pytest.mark.long
@pytest.mark.usefixtures("recorded")  # it is switched off
def test_a_card_flashed_over_comes_back_with_its_owners_password(
    home: Updated, proved: Proved, browser: Browser
) -> None:
    """Only the image's own blocks are written, as bmaptool does; the data lies where it lay."""
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
    assert home.ssh("sha256sum", DENDRITE_KEY) == proved.key
    assert MESSAGE in home.messages()
