"""Habits of home routers: what some of them do, or leave out, that others do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from world.household import OWN, OWN_SECRET, Household
from world.internet.home import map_port
from world.internet.options import VARIANTS
from world.internet.places import (
    ECHO_URLS,
    LINE_ADDRESS,
    LINE_ADDRESS_AFTER,
    NAMESERVER,
    OUTSIDER,
    RESOLVER,
    ROUTER,
)
from world.internet.world import World
from world.patience import stretched
from world.test_internet import EXTERNAL, NAME, answer, call, echo, own_address, world

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]


def test_the_router_hides_names_that_lead_home(tmp_path: Path) -> None:
    """The authoritative server tells them, and so does the Internet's resolver."""
    with world(tmp_path, "filters-private") as made:
        made.set_name(NAME, "A", own_address(made))
        ask = ["dig", "+short", "+tries=1", "+time=3", NAME, "A"]
        assert made.lan.run([*ask, f"@{NAMESERVER}"]).stdout.strip() == own_address(made)
        assert made.lan.run([*ask, f"@{RESOLVER}"]).stdout.strip() == own_address(made)
        assert made.lan.run(ask).stdout.strip() == ""
        # Everything else works through the same router.
        assert [echo(made.lan, url) for url in ECHO_URLS] == [LINE_ADDRESS] * 2
    with world(tmp_path / "plain", "plain") as made:
        made.set_name(NAME, "A", own_address(made))
        assert made.lan.run(["dig", "+short", NAME]).stdout.strip() == own_address(made)


@pytest.mark.parametrize(("variant", "hears"), [("igd1", True), ("igd1-quiet", False)])
def test_a_quiet_router_announces_nothing(tmp_path: Path, variant: str, hears: bool) -> None:
    """What other routers send when they start, by a program that knows none of our code."""
    with world(tmp_path, variant) as made:
        watch = [
            "tcpdump",
            "-Z",
            "root",
            "-i",
            "eth0",
            "-nl",
            "udp and (dst port 1900 or dst port 5350)",
        ]
        made.lan.start("tcpdump", watch)
        made.lan.wait_for("tcpdump", lambda: "listening" in made.lan.log("tcpdump"), "listening")
        made.reboot_router()
        # It answers who asks, whether it announces itself or not.
        assert map_port(made.lan, own_address(made), 443) == ""
        if hears:
            wait_until(
                lambda: f"{ROUTER}." in made.lan.log("tcpdump"), seconds=20, what="ssdp:alive"
            )
        assert (f"{ROUTER}." in made.lan.log("tcpdump")) is hears


@pytest.mark.parametrize(
    "variant",
    [
        "igd1-quiet",
        pytest.param("natpmp-quiet", marks=pytest.mark.long),
        pytest.param("pcp-quiet", marks=pytest.mark.long),
    ],
)
def test_a_quiet_routers_new_address_is_followed(tmp_path: Path, variant: str) -> None:
    """hearth-router asks; nothing else on the appliance runs in between, no timer either."""
    with World(tmp_path, VARIANTS[variant]) as made:
        house = Household(made, OWN, OWN_SECRET)
        house.start()
        try:
            made.change_address(LINE_ADDRESS_AFTER)
            seconds = stretched(60)  # issue 3, "Numbers"
            wait_until(house.is_followed, seconds=seconds, what="the new address", every=0.2)
            made.reboot_router()
            assert not house.is_mapped()
            wait_until(house.is_mapped, seconds=stretched(90), what="the ports", every=0.2)
        finally:
            house.stop()


def test_no_hairpin(tmp_path: Path) -> None:
    with world(tmp_path, "no-hairpin") as made:
        answer(made.lan, 443)
        assert map_port(made.lan, own_address(made), 443) == ""
        assert call(made.wan.host, LINE_ADDRESS, 443) == OUTSIDER
        assert call(made.lan, LINE_ADDRESS, 443) == ""


def test_the_router_rewrites_the_source(tmp_path: Path) -> None:
    with world(tmp_path, "rewrites-source") as made:
        answer(made.lan, 443)
        assert map_port(made.lan, own_address(made), 443) == ""
        assert call(made.wan.host, LINE_ADDRESS, 443) == ROUTER


def test_the_router_lies(tmp_path: Path) -> None:
    with world(tmp_path, "lying") as made:
        answer(made.lan, 443)
        assert map_port(made.lan, own_address(made), 443) == ""
        assert json.loads(made.lan.python(EXTERNAL))[1][0] == own_address(made)
        assert call(made.wan.host, LINE_ADDRESS, 443) == ""
