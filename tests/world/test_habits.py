"""Habits of home routers that the appliance has to notice, since nothing fails at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.deadline import wait_until
from world.internet.home import map_port
from world.internet.places import ECHO_URLS, LINE_ADDRESS, NAMESERVER, RESOLVER, ROUTER
from world.test_internet import NAME, echo, own_address, world

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
