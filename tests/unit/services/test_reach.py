"""Why a port is not open, said in the same words by doctor and by the pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.settings import Public, Reach, Settings, Way, load_settings
from firstboot.outside import ports_fact
from services.health.portmap import PortmapCheck
from services.health.result import Examination, Verdict
from services.portmap.causes import EXPLANATIONS, Cause
from services.portmap.contract import Held, Problem, State
from services.portmap.mapper import PORTS, Port
from services.reach import NOT_YET, PORTMAP, PortmapResult, find_obstacle
from services.results import save_result
from unit.services.appliance_files import RecordedUnits, make_appliance

HTTP, HTTPS, FEDERATION = PORTS


def held(*ports: Port) -> tuple[Held, ...]:
    return tuple(Held(port=port, lease=3600, renewed=0.0) for port in ports)


def refused(cause: Cause, *ports: Port) -> tuple[Problem, ...]:
    return tuple(Problem(port=port, cause=cause) for port in ports)


def test_what_the_router_said_of_this_port_comes_first() -> None:
    problems = (*refused(Cause.CONFLICT, HTTP), *refused(Cause.LOW_PORT, HTTPS))
    assert find_obstacle(State(problems=problems), 443) is EXPLANATIONS[Cause.LOW_PORT]
    assert find_obstacle(State(problems=problems), 8448) is EXPLANATIONS[Cause.CONFLICT]
    assert find_obstacle(State(held=held(HTTPS), problems=problems), 443) is None
    assert find_obstacle(State(), 443) is NOT_YET


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return make_appliance(tmp_path)


def check(paths: Paths, public: Public | None, ports: State | None, **more: State) -> tuple:
    if ports is not None:
        save_result(paths, PORTMAP, PortmapResult(ports=ports, **more))
    known = load_settings(paths.settings)
    assert known is not None
    server = replace(known.server, reach=Reach.PUBLIC if public else Reach.LAN)
    settings: Settings = replace(known, server=server, public=public)
    examination = Examination(paths=paths, units=RecordedUnits(), settings=settings)
    result = PortmapCheck().run(examination)
    return result.verdict, result.evidence, result.hint


def test_doctor_and_pages_say_the_same(paths: Paths) -> None:
    ports = State(spoke="igd", problems=refused(Cause.UNAUTHORIZED, *PORTS))
    verdict, evidence, hint = check(paths, Public(), ports)
    fact = ports_fact(paths)
    explanation = EXPLANATIONS[Cause.UNAUTHORIZED]
    assert (verdict, hint) == (Verdict.WARN, explanation.next_step)
    assert (fact.detail, fact.next_step) == (explanation.sentence, explanation.next_step)
    assert evidence.count(explanation.sentence) == 3


def test_open_ports_are_told_with_their_lease(paths: Paths) -> None:
    ports = State(protocol="pcp", held=held(*PORTS))
    verdict, evidence, _ = check(paths, Public(), ports)
    assert verdict is Verdict.OK
    assert "port 443 leads to our 8443, for 3600 s at a time" in evidence


def test_a_port_that_is_only_a_comfort_is_a_warning(paths: Paths) -> None:
    ports = State(protocol="pcp", held=held(HTTPS), problems=refused(Cause.CONFLICT, HTTP))
    verdict, _, hint = check(paths, Public(), ports)
    assert (verdict, hint) == (Verdict.WARN, EXPLANATIONS[Cause.CONFLICT].next_step)


@pytest.mark.parametrize(
    ("public", "verdict"),
    [
        (None, Verdict.OK),
        (Public(way=Way.HOME), Verdict.OK),
        (Public(way=Way.IPV6), Verdict.OK),
        (Public(way=Way.PORT, port=8448), Verdict.WARN),
        (Public(), Verdict.WARN),
    ],
)
def test_each_way_wants_its_own_ports(
    paths: Paths, public: Public | None, verdict: Verdict
) -> None:
    """Here the firewall is open, and the router forwards nothing."""
    open_pinholes = State(protocol="pcp", held=held(Port(external=443, internal=443)))
    silent = State(problems=refused(Cause.SILENT, *PORTS))
    assert check(paths, public, silent, pinholes=open_pinholes)[0] is verdict
