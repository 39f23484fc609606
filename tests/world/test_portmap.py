"""The job that keeps the router's ports open, against real routers of every kind."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from appliance.deadline import wait_until
from world.internet.options import VARIANTS, Igd, Line, RouterOptions, Udp
from world.internet.places import (
    CGNAT_ADDRESS,
    ECHO_URLS,
    LINE_ADDRESS,
    LINE_ADDRESS_AFTER,
    OUTSIDER,
    ROUTER,
    UPSTREAM_ADDRESS,
)
from world.internet.world import World
from world.patience import stretched
from world.test_internet import answer, call

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]

ALL = {80, 443, 8448}
SETTINGS = """
version = 1
[owner]
name = "anna"
[device]
[server]
name = "example.org"
reach = "public"
[public]
"""
ROOT = "/srv/root"
VERDICT_SECONDS = 10.0  # issue 3, "Numbers"


class Job:
    """hearth-portmap as it runs on a machine of the home."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.root = world.lan.files / "root"
        (self.root / "data/hearth").mkdir(parents=True)
        self.settings = self.root / "data/hearth/settings.toml"
        self.settings.write_text(SETTINGS)

    def hearthctl(self, *arguments: str) -> Any:
        echoes = " ".join(ECHO_URLS)
        argv = ["env", f"HEARTH_ECHO_IPV4={echoes}", f"HEARTH_ECHO_IPV6={echoes}",
                "python3", "-m", "firstboot", "--root", ROOT, *arguments]  # fmt: skip
        return self.world.lan.run(argv, check=False)

    def run(self, *arguments: str) -> int:
        result = self.hearthctl("portmap", *arguments)
        assert result.returncode in (0, 1), result.stderr
        return int(result.returncode)

    def result(self, name: str) -> dict[str, Any]:
        file = self.root / f"data/hearth/results/{name}.json"
        return dict(json.loads(file.read_text()))

    @property
    def ports(self) -> dict[str, Any]:
        return dict(self.result("portmap")["ports"])

    @property
    def held(self) -> set[int]:
        return {one["port"]["external"] for one in self.ports["held"]}

    @property
    def causes(self) -> dict[int, str]:
        return {one["port"]["external"]: one["cause"] for one in self.ports["problems"]}

    @property
    def verdict(self) -> str:
        return str(self.result("address")["finding"]["verdict"])


@contextmanager
def home(path: Path, options: RouterOptions) -> Iterator[tuple[World, Job]]:
    with World(path, options) as world:
        yield world, Job(world)


@dataclass(frozen=True, kw_only=True)
class Expected:
    protocol: str
    held: set[int]
    causes: dict[int, str]
    verdict: str
    words: str  # of the sentence that the owner reads, or of the evidence
    wan: str | None = LINE_ADDRESS


NOTHING: dict[int, str] = {}
EXPECTED = {
    "plain": Expected(
        protocol="pcp", held=ALL, causes=NOTHING, verdict="open", words="the world can reach"
    ),
    "igd1": Expected(protocol="igd", held=ALL, causes=NOTHING, verdict="open", words="igd"),
    "upnp-off": Expected(
        protocol="", held=set(), causes=dict.fromkeys(ALL, "silent"), verdict="no-igd",
        words="switch UPnP or NAT-PMP on",
    ),
    "permanent-only": Expected(
        protocol="igd", held=ALL, causes=NOTHING, verdict="open", words="igd"
    ),
    "port-taken": Expected(
        protocol="pcp", held={80, 8448}, causes={443: "conflict"}, verdict="no-igd",
        words="never takes a port away",
    ),
    "router-has-80": Expected(
        protocol="pcp", held={443, 8448}, causes={80: "conflict"}, verdict="open", words="pcp"
    ),
    "no-low-ports": Expected(
        protocol="pcp", held={8448}, causes={80: "low-port", 443: "low-port"}, verdict="no-igd",
        words="only ports from 1024 up",
    ),
    "natpmp-only": Expected(
        protocol="nat-pmp", held=ALL, causes=NOTHING, verdict="open", words="nat-pmp"
    ),
    "pcp-only": Expected(protocol="pcp", held=ALL, causes=NOTHING, verdict="open", words="pcp"),
    "double-nat": Expected(
        protocol="pcp", held=ALL, causes=NOTHING, verdict="double-nat", words=UPSTREAM_ADDRESS
    ),
    "cgnat": Expected(
        protocol="pcp", held=ALL, causes=NOTHING, verdict="cgnat", words=CGNAT_ADDRESS, wan=None
    ),
}  # fmt: skip


@pytest.mark.parametrize("variant", EXPECTED)
def test_every_kind_of_router(tmp_path: Path, variant: str) -> None:
    """What is opened, what the owner is told, and what an outsider then reaches."""
    wanted = EXPECTED[variant]
    with home(tmp_path, VARIANTS[variant]) as (world, job):
        code = job.run()
        assert job.held == wanted.held
        assert job.causes == wanted.causes
        assert job.ports["protocol"] == wanted.protocol
        assert code == (0 if 443 in wanted.held else 1)
        assert job.verdict == wanted.verdict
        address = job.result("address")
        assert wanted.words in json.dumps(address["finding"])
        assert address["wan"].get("ipv4") == wanted.wan
        if wanted.verdict == "open":
            answer(world.lan, 8443)
            assert call(world.wan.host, LINE_ADDRESS, 443) == OUTSIDER


@pytest.mark.parametrize("variant", ["plain", "upnp-off", "cgnat", "double-nat"])
def test_a_verdict_within_ten_seconds(tmp_path: Path, variant: str) -> None:
    """``hearthctl network check --json``: the clock of whoever waits for it."""
    with home(tmp_path, VARIANTS[variant]) as (world, job):
        begin = time.monotonic()
        printed = job.hearthctl("network", "check", "--json")
        assert time.monotonic() - begin < stretched(VERDICT_SECONDS)
        found = json.loads(printed.stdout)
        assert found["finding"]["verdict"] == EXPECTED[variant].verdict
        assert printed.returncode == (0 if EXPECTED[variant].verdict == "open" else 1)
        # Asking opens nothing for good.
        assert world.router is not None
        if VARIANTS[variant].udp is not Udp.OFF:
            assert "dnat" not in world.router.mappings()


def test_offline(tmp_path: Path) -> None:
    """The line is dead: said so, with what the router still answers."""
    with home(tmp_path, VARIANTS["plain"]) as (world, job):
        world.fail_line()
        begin = time.monotonic()
        found = json.loads(job.hearthctl("network", "check", "--json").stdout)
        assert found["finding"]["verdict"] == "offline"
        assert time.monotonic() - begin < stretched(VERDICT_SECONDS)


@pytest.mark.parametrize("variant", ["plain", "igd1", "natpmp-only"])
def test_a_router_that_reboots_and_forgets(tmp_path: Path, variant: str) -> None:
    with home(tmp_path, VARIANTS[variant]) as (world, job):
        if VARIANTS[variant].udp is not Udp.OFF:
            wait_for_uptime(world)  # UPnP has its table to look at
        assert job.run() == 0
        world.reboot_router()
        assert world.router is not None
        assert "dnat" not in world.router.mappings()
        assert job.run() == 0
        assert world.router.mappings().count("dnat") == len(ALL)


def wait_for_uptime(world: World, seconds: int = 6) -> None:
    """A second start within the first seconds cannot be told from the first (RFC 6887, 8.5)."""

    code = (
        "from services.portmap.natpmp import NatPmp;"
        f"mapper = NatPmp({ROUTER!r}); print(mapper.discover().epoch); mapper.close()"
    )

    def is_up() -> bool:
        return int(world.lan.python(code)) >= seconds

    wait_until(is_up, seconds=30, what=f"{seconds} s of the router's uptime")


def test_nothing_is_asked_for_what_is_not_due(tmp_path: Path) -> None:
    """A second run looks, and that is all: one packet."""
    with home(tmp_path, VARIANTS["plain"]) as (world, job):
        count_questions(world)
        job.run()
        first = questions(world)
        assert first > len(ALL)
        before = job.result("portmap")
        job.run()
        assert questions(world) == first + 1
        assert job.result("portmap") == before


def count_questions(world: World) -> None:
    """Packets by PCP, NAT-PMP and SSDP, as the router's own kernel counts them."""
    assert world.router is not None
    rules = """table inet asked {
        counter heard { }
        chain in {
            type filter hook input priority -10;
            udp dport { 5351, 1900 } counter name heard
        }
    }
    """
    world.router.host.run(["nft", "-f", "-"], input=rules)


def questions(world: World) -> int:
    assert world.router is not None
    argv = ["nft", "--json", "list", "counter", "inet", "asked", "heard"]
    listed = json.loads(world.router.host.run(argv).stdout)["nftables"]
    return int(next(one["counter"]["packets"] for one in listed if "counter" in one))


def test_a_lost_line_of_the_table_is_mapped_again(tmp_path: Path) -> None:
    """Somebody deletes one mapping on the router's pages; the others are left alone."""
    with home(tmp_path, VARIANTS["igd1"]) as (world, job):
        job.run()
        world.lan.python(
            "import miniupnpc; u = miniupnpc.UPnP(); u.discoverdelay = 500; u.discover();"
            "u.selectigd(); u.deleteportmapping(443, 'TCP')"
        )
        renewed = {one["port"]["external"]: one["renewed"] for one in job.ports["held"]}
        assert job.run() == 0
        after = {one["port"]["external"]: one["renewed"] for one in job.ports["held"]}
        assert {port for port in ALL if after[port] != renewed[port]} == {443}


def test_a_new_wan_address(tmp_path: Path) -> None:
    """Seen in the next run, told for DNS, and reachable."""
    with home(tmp_path, VARIANTS["plain"]) as (world, job):
        wait_for_uptime(world)
        job.run()
        world.change_address(LINE_ADDRESS_AFTER)
        assert job.run() == 0
        assert job.result("address")["wan"]["ipv4"] == LINE_ADDRESS_AFTER
        answer(world.lan, 8443)
        assert call(world.wan.host, LINE_ADDRESS_AFTER, 443) == OUTSIDER


@pytest.mark.parametrize("variant", ["plain", "igd1"])
def test_a_new_address_on_the_lan(tmp_path: Path, variant: str) -> None:
    """The ports follow; what the router still has for the old address is not fought over."""
    with home(tmp_path, VARIANTS[variant]) as (world, job):
        job.run()
        old = world.lan_address(world.lan)
        world.lan.stop("udhcpc")
        world.lan.batch_ip(
            f"address flush dev eth0\naddress add 192.0.2.77/24 dev eth0\n"
            f"route add default via {ROUTER}"
        )
        job.run()
        assert job.ports["lan"] == "192.0.2.77"
        assert job.ports["former"] == [old]
        assert set(job.causes.values()) <= {"conflict", "own-old-address", "low-port"}
        assert job.held | set(job.causes) == ALL


def test_reset_gives_everything_back(tmp_path: Path) -> None:
    with home(tmp_path, VARIANTS["plain"]) as (world, job):
        job.run()
        assert world.router is not None
        assert "dnat" in world.router.mappings()
        job.run("--release")
        assert "dnat" not in world.router.mappings()


def test_the_owner_chooses_the_lan_only(tmp_path: Path) -> None:
    """Without ``[public]`` the job gives back what it had, and asks for nothing."""
    with home(tmp_path, VARIANTS["plain"]) as (world, job):
        job.run()
        job.settings.write_text(SETTINGS.replace("[public]", "").replace("public", "lan"))
        assert job.run() == 0
        assert world.router is not None
        assert "dnat" not in world.router.mappings()
        assert job.held == set()


def test_mappings_of_others_stay(tmp_path: Path) -> None:
    """Another machine's ports, taken and free, are the same after all that we do."""
    options = replace(VARIANTS["port-taken"], igd=Igd.V1, udp=Udp.OFF)
    with home(tmp_path, options) as (world, job):
        assert world.other is not None
        other = world.lan_address(world.other)
        job.run()
        assert job.causes == {443: "conflict"}
        assert other in json.dumps(job.ports["problems"])  # the owner is told who has it
        job.run("--release")
        assert world.router is not None
        rules = world.router.mappings()
        assert other in rules
        assert rules.count("dnat") == 1


def test_a_carriers_router_with_ports_open_is_still_cgnat(tmp_path: Path) -> None:
    """NAT-PMP alone, to a router that cannot know what is outside of it."""
    options = replace(VARIANTS["natpmp-only"], line=Line.CGNAT)
    with home(tmp_path, options) as (_world, job):
        job.run()
        assert job.verdict == "cgnat"


@pytest.mark.parametrize("variant", ["plain", "igd1", "igd1-quiet"])
def test_the_router_is_heard(tmp_path: Path, variant: str) -> None:
    """hearth-router calls the job when the router starts; from its power-on to open ports."""
    with home(tmp_path, VARIANTS[variant]) as (world, job):
        if VARIANTS[variant].udp is not Udp.OFF:
            wait_for_uptime(world)
        job.run()
        news = job.root / "run/hearth-router/changed"
        news.parent.mkdir(parents=True)
        watch = ["python3", "-m", "firstboot", "--root", ROOT, "router"]
        world.lan.start("router-watch", watch)
        asked = "the router is asked by"
        world.lan.wait_for("router-watch", lambda: asked in world.lan.log("router-watch"), asked)
        world.power_off()
        begin = time.monotonic()
        world.power_on()
        while not job.held or "dnat" not in mappings(world):
            # What hearth-portmap.path does on the appliance.
            wait_until(news.exists, seconds=60, what="the router being heard", every=0.1)
            job.run()
            assert not news.exists()
        assert time.monotonic() - begin < stretched(90)  # issue 3, "Numbers"


def mappings(world: World) -> str:
    assert world.router is not None
    return world.router.mappings()
