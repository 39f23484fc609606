"""The job that keeps the ports: what one failure leaves standing, and when it asks others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from appliance.errors import CommandError
from appliance.paths import Paths
from appliance.settings import Device, Owner, Public, Reach, Server, Settings, Way, save_toml
from firstboot.portmap import ECHO_LONGEST, ECHO_PAUSE, World, keep_ports
from services.portmap.causes import Cause
from services.portmap.mapper import PINHOLES, Mapper
from services.portmap.pcp import Pcp
from services.portmap.place import Place
from services.reach import PORTMAP, PortmapResult
from services.results import load_result
from unit.firstboot.machine import HandClock
from unit.services.appliance_files import RecordedUnits
from unit.services.gateway_udp import OUTSIDE, UdpGateway

HERE = "127.0.0.1"
SETTINGS = Settings(owner=Owner(name="anna"), device=Device(), server=Server(name="example.org"))
DAY = 86400.0
POLL = 300.0  # hearth-portmap.timer


class Clock(HandClock):
    def time(self) -> float:
        return 1.8e9 + self.now


@dataclass
class Echoes:
    """Two services that see what they are told to see, and count who asks."""

    seen: str = OUTSIDE
    asked: int = 0

    def __enter__(self) -> Echoes:
        echoes = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

            def do_GET(self) -> None:
                echoes.asked += 1
                self.send_response(200)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(echoes.seen.encode())

        self._server = ThreadingHTTPServer((HERE, 0), Handler)
        self.url = f"http://{HERE}:{self._server.server_port}/"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class House:
    """The job's files, a router on loopback, and rules that can be made to fail."""

    paths: Paths
    clock: Clock
    router: UdpGateway
    firewall: UdpGateway
    rules: list[bool] = field(default_factory=list)
    fails: bool = False

    def choose(self, public: Public | None) -> None:
        settings = SETTINGS if public is None else with_public(public)
        save_toml(settings, self.paths.settings, mode=0o640)

    def run(self) -> int:
        world = World(
            clock=self.clock,
            boot_id=lambda: "b1",
            place=lambda: Place(gateway=HERE, lan=HERE, gateway6=HERE, ipv6=HERE),
            ways=lambda _place, **_: {"pcp": lambda: pcp(self.router)},
            ways6=lambda _place: {"pcp": lambda: pcp(self.firewall)},
            redirect=self.redirect,
        )
        return keep_ports(self.paths, RecordedUnits(), world=world)

    def redirect(self, *, wanted: bool) -> None:
        if self.fails:
            raise CommandError("nft: exit code 1: Operation not supported")
        self.rules.append(wanted)

    @property
    def result(self) -> PortmapResult:
        found = load_result(self.paths, PORTMAP, PortmapResult)
        assert found is not None
        return found


def pcp(gateway: UdpGateway) -> Mapper:
    return Pcp(HERE, machine_id="0123", source=HERE, port=gateway.port)


def with_public(public: Public) -> Settings:
    return replace(SETTINGS, server=replace(SETTINGS.server, reach=Reach.PUBLIC), public=public)


@pytest.fixture
def echoes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Echoes]:
    with Echoes() as found:
        monkeypatch.setenv("HEARTH_ECHO_IPV4", f"{found.url}a {found.url}b")
        monkeypatch.setenv("HEARTH_ECHO_IPV6", "http://127.0.0.1:9/")
        yield found


@pytest.fixture
def house(tmp_path: Path, echoes: Echoes) -> Iterator[House]:
    clock = Clock()
    (tmp_path / "data/hearth").mkdir(parents=True)
    with UdpGateway(clock) as router, UdpGateway(clock) as firewall:
        yield House(paths=Paths(tmp_path), clock=clock, router=router, firewall=firewall)


def test_a_failure_of_the_rules_for_ipv6_leaves_ipv4_as_it_is(house: House) -> None:
    """And no pinhole stands, through which the pages would be seen."""
    house.choose(Public())
    assert house.run() == 0
    assert [one.port for one in house.result.pinholes.held] == list(PINHOLES)
    house.fails = True
    house.clock.sleep(POLL)
    assert house.run() == 0
    found = house.result
    assert {one.port.external for one in found.ports.held} == {80, 443, 8448}
    assert found.pinholes.held == ()
    assert {one.cause for one in found.pinholes.problems} == {Cause.UNGUARDED}
    assert "Operation not supported" in found.pinholes.problems[0].said
    house.fails = False
    house.clock.sleep(POLL)
    assert house.run() == 0
    assert not house.result.pinholes.problems


def test_strangers_over_ipv6_are_served_only_where_the_way_in_is_theirs(house: House) -> None:
    for way, is_served in (
        (Way.PORTS, True), (Way.IPV6, True), (Way.PORT, False), (Way.HOME, False),
    ):  # fmt: skip
        house.choose(Public(way=way, port=8448 if way is Way.PORT else 443))
        house.run()
        assert house.rules[-1] is is_served, way
    house.choose(None)
    house.run()
    assert house.rules[-1] is False
    assert house.router.open_ports() == house.firewall.open_ports() == {}


@pytest.mark.parametrize(("way", "asked"), [(Way.HOME, 2), (Way.IPV6, 2), (Way.PORTS, 145)])
def test_the_echo_services_are_asked_where_their_answer_is_of_use(
    house: House, echoes: Echoes, way: Way, asked: int
) -> None:
    """Behind another NAT the router's word is worth nothing; only a name that follows asks on."""
    house.router.outside = "100.64.0.7"
    house.choose(Public(way=way))
    for _ in range(int(DAY // ECHO_PAUSE)):
        house.run()
        house.clock.sleep(ECHO_PAUSE)
    house.run()
    assert ECHO_LONGEST == DAY
    assert echoes.asked == asked * 2, "there are two of them"
