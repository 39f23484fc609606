"""What is told of the ways in that are not the router's port 443."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.answers import Judgement, Outside
from appliance.settings import Ddns, Public, Way
from appliance.state import StepState
from firstboot.outside import outside_facts, way_fact
from services.portmap.causes import Cause
from services.portmap.contract import Held, Problem, State
from services.portmap.mapper import PINHOLES, Port
from services.reach import PORTMAP, AddressResult, PortmapResult
from services.results import load_result, save_result
from services.wan import RESULT as ADDRESS
from services.wan import WanAddresses
from unit.firstboot.test_outside import ACME_UNIT, DDNS_UNIT, PORTMAP_UNIT, World
from unit.services.appliance_files import SERVER_NAME

OURS = "2001:db8::7"
DESEC = Ddns(provider="desec", name=SERVER_NAME)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.ports()
    return world


def choose(world: World, way: Way, *, port: int = 443) -> Outside:
    world.publish(Public(way=way, port=port, ddns=DESEC))
    return way_fact(world.paths, world.settings)


def has_ipv6(world: World, address: str | None) -> None:
    found = load_result(world.paths, ADDRESS, AddressResult)
    assert found is not None
    save_result(world.paths, ADDRESS, replace(found, wan=WanAddresses(ipv6=address)))


def hold(*ports: Port) -> State:
    return State(held=tuple(Held(port=port, lease=3600, renewed=0.0) for port in ports))


def test_another_port_is_another_port(world: World) -> None:
    assert choose(world, Way.PORT, port=8448).judgement is Judgement.UNSURE
    held = hold(Port(external=8448, internal=8448))
    save_result(world.paths, PORTMAP, PortmapResult(ports=held))
    fact = choose(world, Way.PORT, port=8448)
    assert (fact.judgement, fact.detail) == (
        Judgement.GOOD, "Your router forwards port 8448 to this server.")  # fmt: skip


def test_a_port_that_nobody_tries_by_itself_comes_with_the_record_that_tells_it(
    world: World,
) -> None:
    held = hold(Port(external=4443, internal=8443))
    save_result(world.paths, PORTMAP, PortmapResult(ports=held))
    fact = choose(world, Way.PORT, port=4443)
    assert fact.judgement is Judgement.GOOD
    assert f"_matrix-fed._tcp.{SERVER_NAME} SRV 10 5 4443 {SERVER_NAME}." in fact.detail


def test_ipv6_needs_an_address_and_an_open_firewall(world: World) -> None:
    has_ipv6(world, None)
    fact = choose(world, Way.IPV6)
    assert fact.judgement is Judgement.BAD
    assert "no public IPv6 address" in fact.detail
    has_ipv6(world, OURS)
    silent = State(problems=(Problem(port=PINHOLES[1], cause=Cause.SILENT),))
    save_result(world.paths, PORTMAP, PortmapResult(pinholes=silent))
    fact = choose(world, Way.IPV6)
    assert fact.judgement is Judgement.UNSURE, "it may have been opened by hand"
    assert OURS in fact.next_step
    save_result(world.paths, PORTMAP, PortmapResult(pinholes=hold(*PINHOLES)))
    assert choose(world, Way.IPV6).judgement is Judgement.GOOD


def test_at_home_only_nothing_is_opened_and_nobody_looks_from_outside(world: World) -> None:
    assert choose(world, Way.HOME).judgement is Judgement.GOOD
    names = [fact.name for fact in outside_facts(world.paths, world.settings)]
    assert names == ["home", "name", "certificate"]
    units = world.units()
    steps = world.run(units)
    assert steps["public-ports"][0] is StepState.SKIPPED
    started = [act.partition(" ")[2] for act in units.acts]
    assert PORTMAP_UNIT not in started
    assert DDNS_UNIT in started
    assert ACME_UNIT in started
