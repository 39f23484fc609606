"""The whole evening of an owner whose server the world shall reach: one appliance, one story.

The shipping image boots under QEMU on the home's switch of the Internet in a box (tests/world/
internet), completes its card and gets its address from the router. Chromium in the home goes
through the wizard with a DuckDNS name and Synapse; miniupnpd opens the ports, the DDNS endpoint
publishes the name, pebble looks through the router and issues. Somebody on a second homeserver
joins a room by its alias, and both speak, in the open and encrypted. Then the router reboots and
forgets everything, later the provider gives the home another address, and the appliance restarts:
nobody helps, and the service is back.

Dendrite, an appliance that stays at home, and a card that is flashed over are in test_update.py.

Simulated: all that is out there (real programs, under the real names: names.py, wan.py, remote.py),
its time server included, which timesyncd finds by itself. The only thing done to the appliance from
outside is that the box's authorities are put into its trust store, by SSH, before anybody has
claimed it; Let's Encrypt's, pebble's and the providers' certificates are theirs.
"""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from appliance.deadline import wait_until
from imagebuild.context import Context
from imagebuild.emulate import find_address_line
from imagebuild.vm import Cable
from vm.elsewhere import Elsewhere
from vm.guest import CLAIM_CODE, make_directory
from vm.home import HomeGuest, lan_chromium
from vm.people import Account, People, gathering
from vm.times import Times
from vm.wellness import (
    a_restart_repeats_no_work,
    foreign_names_and_wrong_codes_are_refused,
    nothing_has_failed,
    nothing_listens_that_need_not,
    the_doctor_tells_the_truth,
    the_first_boot_has_completed_the_card,
    the_recovery_file_opens,
)
from vm.wizard import OWNER, PASSWORD, Wizard, chromium
from world.internet import remote
from world.internet.ddns_endpoints import SECRET
from world.internet.places import (
    LINE_ADDRESS,
    LINE_ADDRESS_AFTER,
    NAMESERVER,
    OUTSIDER,
    REMOTE_NAME,
    RESOLVER,
)
from world.internet.world import World

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2700)]

NAME = "hearth.duckdns.org"
MATRIX = f"matrix.{NAME}"
NAMES = [NAME, MATRIX, f"chat.{NAME}"]
FRIEND = "bob"
TAP = "to-guest"
HOMESERVER = "hearth-synapse.service"
SIGNING_KEY = "/data/homeserver/synapse/signing.key"
BACK_SECONDS = 240.0
# Synapse imports a thousand modules on an emulated processor.
RESTART_SECONDS = 900.0
AGENT_MB = 40.0
# DuckDNS is asked no more often than that (services.ddns.providers).
PROVIDER_SECONDS = 300.0
# What only the home may see, by any name and port.
PRIVATE_PATHS = ("/", "/claim", "/sign-in", "/setup/you", "/progress", "/done", "/connect",
                 "/recovery", "/_synapse/admin/v1/users", "/_dendrite/admin/purgeRoom/x",
                 "/hearth-authority.crt")  # fmt: skip
# From outside, and what each answers for these paths; nothing at all where no name was said.
DOORS = {
    f"https://{NAME}": "404",
    f"https://{MATRIX}": "404",
    f"https://{MATRIX}:8448": "404",
    f"http://{NAME}": "301",  # to HTTPS, whatever it is
    f"https://{LINE_ADDRESS}": "000",
    f"http://{LINE_ADDRESS}": "000",
}
PSS = """
group=$(systemctl show --property ControlGroup --value "$1")
for process in $(cat "/sys/fs/cgroup$group/cgroup.procs")
do grep ^Pss: /proc/$process/smaps_rollup; done
"""


class Evening:
    """What the steps hand on to each other."""

    def __init__(self, directory: Path, world: World, guest: HomeGuest) -> None:
        self.directory = directory
        self.world = world
        self.guest = guest
        self.times = Times(directory / "times.json")
        self.roots = directory / "roots.pem"
        self.roots.write_text("".join(world.wan.roots))
        self.friend = remote.Remote(world, is_hasty=False)
        self.friend.add_user(FRIEND)

    def result(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.guest.ssh("cat", f"/data/hearth/results/{name}.json")))

    def outside(self, url: str, *more: str) -> str:
        """What somebody far away gets, who trusts the world's authorities; empty for nothing."""
        argv = ["curl", "-sS", "--fail", "--max-time", "20", "--interface", OUTSIDER, *more, url]
        return self.world.wan.host.run(argv, check=False, seconds=40).stdout

    def published(self) -> str:
        """By the name server itself, so that no cache stands between."""
        argv = ["dig", f"@{NAMESERVER}", "+short", NAME]
        return self.world.wan.host.run(argv).stdout.strip()

    def mapped(self) -> set[int]:
        assert self.world.router is not None
        return {int(port) for port in re.findall(r"dport (\d+)", self.world.router.mappings())}


@pytest.fixture
def evening(context: Context) -> Iterator[Evening]:
    """The world runs, the second homeserver too, and the appliance is at its wizard."""
    directory = make_directory(context, "evening")
    with World(directory / "world") as world:
        cable = Cable(tap=TAP, namespace=world.add_tap(TAP))
        guest = HomeGuest(context, directory, world=world, cable=cable)
        guest.flash()
        guest.start()
        try:
            made = Evening(directory, world, guest)
            with made.times.part("waiting for the wizard"):
                guest.wait_for_pages()
            guest.wait_for_ssh()
            yield made
        finally:
            guest.save_journal("last")
            guest.stop()


def test_the_whole_evening(evening: Evening) -> None:
    the_appliance_is_there(evening)
    the_owner_goes_through_the_wizard(evening)
    the_world_reaches_the_homeserver_and_nothing_else(evening)
    with the_owner_and_a_friend(evening) as people:
        with evening.times.part("the friend joins by the room's alias"):
            room = people.join_by_alias("evening")
        with evening.times.part("a message and its answer"):
            people.talk(room, "the first message", e2e=False)
        with evening.times.part("an encrypted room, a message and its answer"):
            people.meet_in_private("for your eyes only")
        the_router_reboots_and_forgets(evening, people)
        the_address_changes(evening, people)
        all_is_in_order(evening)
        no_secret_is_written_down(evening)  # the journal ends with this start
        the_appliance_restarts(evening, people, room)
    nothing_has_failed(evening.guest)
    the_provider_has_no_complaint(evening)


def the_appliance_is_there(evening: Evening) -> None:
    guest = evening.guest
    the_first_boot_has_completed_the_card(guest)
    nothing_has_failed(guest)
    nothing_listens_that_need_not(guest)
    assert find_address_line(guest.serial) == (
        f"hearth: wizard at http://{guest.address}/ claim code {CLAIM_CODE}"
    )
    guest.trust()
    mark = "/run/systemd/timesync/synchronized"
    with evening.times.part("waiting for the time"):
        wait_until(
            lambda: mark in guest.ssh("ls", mark, check=False),
            seconds=120, what="timesyncd's first answer", every=1,
        )  # fmt: skip


def the_owner_goes_through_the_wizard(evening: Evening) -> None:
    guest, times = evening.guest, evening.times
    with chromium(lan_chromium(evening.world, evening.directory)) as browser:
        pictures = evening.directory / "pictures"
        wizard = Wizard(browser, guest.url(), pictures, javascript=True)
        foreign_names_and_wrong_codes_are_refused(guest, wizard)
        wizard.claim(CLAIM_CODE)
        with times.part("the wizard's questions"):
            network = wizard.answer_public("synapse", NAME, SECRET)
        assert "Your router has a public address and opens ports" in network
        assert "You can choose freely" in network  # only with the verdict "open"
        with times.part("setup, from the button to its end"):
            wizard.apply()
        steps = wizard.page.evaluate("fetch('/progress.json').then(answer => answer.json())")
        states = {step["name"]: step["state"] for step in steps["steps"]}
        public = ["public-ports", "public-name", "public-certificate", "public"]
        assert [states[name] for name in public] == ["done"] * 4, json.dumps(steps, indent=1)
        page = wizard.page.locator("main").inner_text()
        assert "The world can reach it" in page
        assert f"https://{MATRIX}" in page
        assert f"@{OWNER}:{NAME}" in page
        the_recovery_file_opens(guest, wizard, SIGNING_KEY)


def the_world_reaches_the_homeserver_and_nothing_else(evening: Evening) -> None:
    outside = evening.outside
    assert evening.published() == LINE_ADDRESS
    assert evening.mapped() == {80, 443, 8448}
    assert evening.result("acme")["certified"] == NAMES
    delegation = json.loads(outside(f"https://{NAME}/.well-known/matrix/server"))
    assert delegation == {"m.server": f"{MATRIX}:443"}
    client = json.loads(outside(f"https://{NAME}/.well-known/matrix/client"))
    assert client["m.homeserver"]["base_url"] == f"https://{MATRIX}"
    keys = json.loads(outside(f"https://{MATRIX}:8448/_matrix/key/v2/server"))
    assert keys["server_name"] == NAME
    for door, expected in DOORS.items():
        seen = {path: status(evening, door + path) for path in PRIVATE_PATHS}
        assert set(seen.values()) == {expected}, f"{door}: {seen}"
    # At home the same name works, by the router's hairpin.
    home = evening.world.lan.run(["curl", "-sS", "--fail", "--max-time", "20",
                                  f"https://{MATRIX}/_matrix/client/versions"])  # fmt: skip
    assert "versions" in home.stdout


def status(evening: Evening, url: str) -> str:
    argv = ["curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", url]
    return evening.world.wan.host.run(argv, check=False).stdout


def the_owner_and_a_friend(evening: Evening) -> AbstractContextManager[People]:
    """Both somewhere in the Internet: the owner is out of the house."""
    owner = Account(f"https://{MATRIX}", f"@{OWNER}:{NAME}", PASSWORD)
    friend = Account(f"https://{REMOTE_NAME}", f"@{FRIEND}:{REMOTE_NAME}", remote.PASSWORD)
    place = Elsewhere(evening.world.wan.host.pid, RESOLVER)
    return gathering(place, owner, friend, keys=evening.directory / "keys", roots=evening.roots)


def the_router_reboots_and_forgets(evening: Evening, people: People) -> None:
    evening.world.reboot_router()
    assert evening.mapped() == set()
    since = time.monotonic()
    wait_until(
        lambda: evening.mapped() == {80, 443, 8448},
        seconds=BACK_SECONDS, what="the ports after the router's reboot", every=0.5,
    )  # fmt: skip
    evening.times.note("router's reboot to all ports mapped", time.monotonic() - since)
    all_is_back(evening, people, "router's reboot", since)


def the_appliance_restarts(evening: Evening, people: People, room: str) -> None:
    """/etc is new at every start, so the box's authorities must be brought again.

    Synapse would have to start once more to trust them: what was said is read, nothing new is.
    """
    guest, since = evening.guest, time.monotonic()
    a_restart_repeats_no_work(guest, SIGNING_KEY)
    guest.trust()
    is_answered(evening, "the appliance's restart", since, seconds=RESTART_SECONDS)
    assert "re: the first message" in people.owner_reads(room)


def the_address_changes(evening: Evening, people: People) -> None:
    # Sooner after the first update than its contract allows, the provider is not asked.
    told = float(evening.result("ddns")["contract"]["attempted_at"])
    with evening.times.part("waiting for the end of the provider's pause"):
        wait_until(
            lambda: time.time() > told + PROVIDER_SECONDS,
            seconds=PROVIDER_SECONDS + 5, what="the end of the provider's pause", every=1,
        )  # fmt: skip
    evening.world.change_address(LINE_ADDRESS_AFTER)
    since = time.monotonic()
    wait_until(
        lambda: evening.published() == LINE_ADDRESS_AFTER,
        seconds=BACK_SECONDS, what="the new address at the name server", every=0.5,
    )  # fmt: skip
    evening.times.note("new address to the name correct", time.monotonic() - since)
    assert evening.mapped() == {80, 443, 8448}
    all_is_back(evening, people, "new address", since)


def all_is_back(evening: Evening, people: People, event: str, since: float) -> None:
    is_answered(evening, event, since)
    people.talk_in_private(f"after the {event}")
    evening.times.note(f"{event} to a message and its answer", time.monotonic() - since)


def is_answered(
    evening: Evening, event: str, since: float, *, seconds: float = BACK_SECONDS
) -> None:
    url = f"https://{MATRIX}/_matrix/client/versions"
    wait_until(
        lambda: "versions" in evening.outside(url),
        seconds=seconds, what=f"an answer to the world after the {event}", every=1,
    )  # fmt: skip
    evening.times.note(f"{event} to an answer to the world", time.monotonic() - since)


def all_is_in_order(evening: Evening) -> None:
    guest = evening.guest
    nothing_has_failed(guest)
    the_doctor_tells_the_truth(guest, HOMESERVER)
    for unit in ("hearth-agent.service", "hearth-router.service"):
        lines = guest.ssh("sh", "-c", PSS, "sh", unit).split()
        kilobytes = sum(int(word) for word in lines if word.isdigit())
        assert kilobytes > 0, f"{unit} does not run"
        megabytes = kilobytes * 1024 / 1e6
        evening.times.note(f"{unit} (PSS)", megabytes, "MB")
        assert megabytes <= AGENT_MB


def the_provider_has_no_complaint(evening: Evening) -> None:
    """By the account's own book (ddns_ledger.py): no update but for an address that was new."""
    book = json.loads(evening.outside("https://www.duckdns.org/control/duckdns"))
    assert book["breaches"] == []
    assert len(book["updates"]) == 2


def no_secret_is_written_down(evening: Evening) -> None:
    guest = evening.guest
    kept = tomllib.loads(guest.ssh("cat", "/data/hearth/secrets.toml"))
    secrets = {SECRET, PASSWORD, CLAIM_CODE} | {value for value in kept.values() if value}
    assert kept["ddns_secret"] == SECRET
    seen = {
        "journal": guest.ssh("journalctl", "-a", "--no-pager", "-q"),
        "results": guest.ssh("sh", "-c", "cat /data/hearth/results/* /data/hearth/state.json"),
        "doctor": guest.ssh("hearthctl", "doctor", "--json", seconds=600, check=False),
        "status": guest.ssh("hearthctl", "status", "--json"),
    }
    told = [(place, name) for place, text in seen.items() for name in secrets if name in text]
    assert not told
    assert all(len(text) > 100 for text in seen.values())
