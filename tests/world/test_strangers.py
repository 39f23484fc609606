"""What strangers get of an appliance, far away and in the home, behind real routers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from world.internet.home import map_port
from world.internet.impostor import OUTSIDE as IMPOSTOR
from world.internet.options import VARIANTS, Ipv6, RouterOptions
from world.internet.places import LINE_ADDRESS, ROUTER
from world.internet.world import World
from world.test_internet import answer, call
from world.test_portmap import EXPECTED, SETTINGS, home
from world.tree import REPOSITORY

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]

STRICTEST = REPOSITORY / "overlays/base/usr/share/hearth/strangers.nft"


def test_an_ipv6_firewall_is_opened_and_leads_to_the_public_listeners_only(tmp_path: Path) -> None:
    """PCP makes pinholes; an outsider at 443 gets the listener on 8443, a neighbour does not."""
    with home(tmp_path, VARIANTS["ipv6-firewall"]) as (world, job):
        address = wait_for_ipv6(world)
        answer(world.lan, 8443)
        assert call(world.wan.host, address, 443) == ""
        job.run()
        pinholes = job.result("portmap")["pinholes"]
        assert {one["port"]["external"] for one in pinholes["held"]} == {80, 443, 8448}
        assert job.result("address")["wan"]["ipv6"] == address
        assert call(world.wan.host, address, 443)
        assert call(world.lan, address, 443) == ""
        answer(world.lan, 443)  # where the pages are
        assert call(world.lan, address, 443)
        job.run("--release")
        rules = world.lan.run(["nft", "list", "table", "ip6", "hearth_public"]).stdout
        assert "reject" in rules
        assert "redirect" not in rules


@pytest.mark.parametrize("way", ["ports", "home", "lan"])
def test_without_a_firewall_strangers_get_no_more_over_ipv6(tmp_path: Path, way: str) -> None:
    """The router lets everything in: pages, SSH, homeserver, whatever listens."""
    with home(tmp_path, RouterOptions(ipv6=Ipv6.OPEN)) as (world, job):
        address = wait_for_ipv6(world)
        for port in (22, 443, 8443, 8448):
            answer(world.lan, port)
        neighbour = world.add_machine("neighbour")
        wait_until(lambda: call(neighbour, address, 22), seconds=20, what="IPv6 next door")
        assert call(world.wan.host, address, 22), "nothing in between"
        # From the machine's start on, when it knows no network yet.
        world.lan.run(["nft", "-f", "-"], input=STRICTEST.read_text())
        assert not call(world.wan.host, address, 22)
        if way == "lan":
            job.settings.write_text(SETTINGS.replace("[public]", "").replace("public", "lan"))
            assert job.hearthctl("strangers").returncode == 0
        else:
            job.settings.write_text(f'{SETTINGS}way = "{way}"\n')
            job.run()
        heard = {port for port in (22, 443, 8443, 8448) if call(world.wan.host, address, port)}
        assert heard == ({443, 8448} if way == "ports" else set())
        for port in (22, 443, 8448):
            assert call(neighbour, address, port), port
        if way == "ports":
            world.lan.stop("answerer-8443")
            assert not call(world.wan.host, address, 443), "led away from the pages"


def wait_for_ipv6(world: World) -> str:
    def found() -> str:
        words = world.lan.python(
            "from services.portmap.place import find_place; place = find_place();"
            "print(place.ipv6, place.gateway6)"
        ).split()
        return words[0] if len(words) == 2 else ""

    return wait_until(found, seconds=20, what="an IPv6 address and router")


def test_the_public_listeners_are_reached_where_the_router_rewrites_sources(tmp_path: Path) -> None:
    """Never the port itself. That no page is behind them, test_ways.py asks of a real appliance."""
    with home(tmp_path, VARIANTS["rewrites-source"]) as (world, job):
        assert job.run() == 0
        answer(world.lan, 443)  # where the pages are: it must not be reached
        assert call(world.wan.host, LINE_ADDRESS, 443) == ""
        answer(world.lan, 8443)
        assert (
            call(world.wan.host, LINE_ADDRESS, 443) == ROUTER
        )  # the router's own: rewritten indeed


def test_a_stranger_on_the_lan_cannot_make_us_steal(tmp_path: Path) -> None:
    """A mapping with our words on it, but for somebody else's address, is not ours."""
    with home(tmp_path, replace(VARIANTS["igd1"], taken_ports=(9000,))) as (world, job):
        assert world.other is not None
        other = world.lan_address(world.other)
        assert map_port(world.other, other, 443, inside=8443, name="Hearth 443") == ""
        job.run()
        assert job.causes == {443: "conflict"}


@pytest.mark.parametrize("variant", ["igd1", "upnp-off"])
def test_a_stranger_on_the_lan_is_not_taken_for_the_router(tmp_path: Path, variant: str) -> None:
    """Our name would lead wherever it says."""
    with home(tmp_path, replace(VARIANTS[variant], taken_ports=())) as (world, job):
        stranger = world.add_machine("other")
        argv = ["python3", "-m", "world.internet.impostor", world.lan_address(stranger)]
        stranger.start("impostor", argv)
        stranger.wait_for(
            "impostor", lambda: "listening" in stranger.log("impostor"), "the impostor"
        )
        binding = "import miniupnpc; u = miniupnpc.UPnP(); u.discoverdelay = 1000; u.discover();"
        taken = world.lan.python(binding + "u.selectigd(); print(u.externalipaddress())")
        assert taken.strip() == IMPOSTOR, "the binding alone is taken in"
        wanted = EXPECTED[variant]
        for _ in range(2):
            job.run()
            assert (job.held, job.verdict) == (wanted.held, wanted.verdict)
            assert job.result("address")["wan"].get("ipv4") == LINE_ADDRESS
            assert IMPOSTOR not in json.dumps([job.ports, job.result("address")])
