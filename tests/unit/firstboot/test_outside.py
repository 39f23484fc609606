"""The steps outside: jobs of units that leave results, and a setup that ends whatever they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.answers import Judgement
from appliance.errors import CommandError
from appliance.paths import Paths
from appliance.settings import Ddns, Public, Reach, Settings, Way, load_settings, save_toml
from appliance.state import Phase, StepState, load_state
from firstboot.outside import outside_facts
from firstboot.provision import provision
from firstboot.status import Facts as ImageFacts
from firstboot.status import measure_status
from firstboot.steps import PUBLIC_STEPS, STEPS, find_steps
from firstboot.steps.outside import TARGET
from services.acme.contract import AcmeState
from services.address import Facts, classify, find_wan
from services.ddns.result import DdnsResult
from services.echo import Echo
from services.federation.result import Cause as Seen
from services.federation.result import FederationResult
from services.portmap.causes import Cause
from services.portmap.contract import Held, Problem, State
from services.portmap.mapper import PORTS
from services.reach import PORTMAP, AddressResult, PortmapResult
from services.results import save_result
from services.wan import RESULT as ADDRESS
from services.wan import WanAddresses
from unit.services.appliance_files import SERVER_NAME, RecordedUnits, make_appliance

OUTSIDE = "203.0.113.7"
HTTPS = next(port for port in PORTS if port.external == 443)
PORTMAP_UNIT, DDNS_UNIT, ACME_UNIT = (
    f"hearth-{name}.service" for name in ("portmap", "ddns", "acme")
)


class JobUnits(RecordedUnits):
    """Units whose start leaves the result that a test says; one that ends with 1 raises."""

    def __init__(self, jobs: dict[str, Callable[[], bool]]) -> None:
        super().__init__()
        self.jobs = jobs

    def start(self, unit: str, *, wait: bool = True) -> None:
        super().start(unit, wait=wait)
        if unit in self.jobs and not self.jobs[unit]():
            raise CommandError(f"systemctl start {unit} failed with exit code 1")


class World:
    """Writes what the three jobs would, with the types that they write."""

    def __init__(self, root: Path) -> None:
        self.paths = make_appliance(root, reach=Reach.PUBLIC)
        self.publish(Public(ddns=Ddns(provider="desec", name=SERVER_NAME), sub_names=True))

    def publish(self, public: Public) -> None:
        settings = load_settings(self.paths.settings)
        assert settings is not None
        save_toml(replace(settings, public=public), self.paths.settings, mode=0o640)

    @property
    def settings(self) -> Settings:
        settings = load_settings(self.paths.settings)
        assert settings is not None
        return settings

    def ports(self, cause: Cause | None = None, *, router_wan: str = OUTSIDE) -> bool:
        echo = Echo(service="https://ip.example.com/", address=OUTSIDE)
        facts = Facts(
            lan="192.168.1.7",
            gateway="192.168.1.1",
            protocol="UPnP",
            router_wan=router_wan,
            refusal=cause,
            echoes=(echo, replace(echo, service="https://ip.example.net/")),
        )
        finding = classify(facts)
        wan = find_wan(facts, finding.verdict)
        result = AddressResult(finding=finding, wan=wan, asked=0.0, router_wan=router_wan)
        save_result(self.paths, ADDRESS, result)
        held = () if cause else (Held(port=HTTPS, lease=3600, renewed=0.0),)
        problems = (Problem(port=HTTPS, cause=cause),) if cause else ()
        state = replace(State(), held=held, problems=problems)
        save_result(self.paths, PORTMAP, PortmapResult(ports=state))
        return not cause

    def name(self, problem: str = "") -> bool:
        result = DdnsResult(
            name=SERVER_NAME,
            wanted=WanAddresses(ipv4=OUTSIDE),
            is_correct=not problem,
            problem=problem,
            hint="look at the provider's page" if problem else "",
        )
        save_result(self.paths, "ddns", result)
        return not problem

    def certificate(self, error: str = "") -> bool:
        names = (SERVER_NAME, f"matrix.{SERVER_NAME}", f"chat.{SERVER_NAME}")
        good = AcmeState(certified=names, ends=1e11)
        save_result(self.paths, "acme", AcmeState(error=error) if error else good)
        return not error

    def units(self, **changed: Callable[[], bool]) -> JobUnits:
        jobs = {"ports": self.ports, "name": self.name, "certificate": self.certificate, **changed}
        units = (PORTMAP_UNIT, DDNS_UNIT, ACME_UNIT)
        return JobUnits(dict(zip(units, jobs.values(), strict=True)))

    def run(self, units: JobUnits) -> dict[str, tuple[StepState, str]]:
        provision(self.paths, units, steps=PUBLIC_STEPS)
        state = load_state(self.paths.state)
        assert state.phase is Phase.READY
        return {step.name: (step.state, f"{step.error} {step.hint}") for step in state.steps}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def judgements(world: World) -> list[Judgement]:
    return [fact.judgement for fact in outside_facts(world.paths, world.settings)]


def test_only_a_public_server_goes_outside(world: World, tmp_path: Path) -> None:
    assert find_steps(world.settings) == STEPS + PUBLIC_STEPS
    assert find_steps(replace(world.settings, public=None)) == STEPS
    assert find_steps(None) == STEPS
    lan = replace(world.settings.server, reach=Reach.LAN)
    assert outside_facts(world.paths, replace(world.settings, server=lan)) == ()


def test_ports_then_name_then_certificate_and_then_they_stay(world: World) -> None:
    units = world.units()
    assert {state for state, _ in world.run(units).values()} == {StepState.DONE}
    starts = [act.partition(" ")[2] for act in units.acts]
    assert starts == [PORTMAP_UNIT, DDNS_UNIT, ACME_UNIT, TARGET]
    assert judgements(world) == [Judgement.GOOD] * 3 + [Judgement.UNSURE], "nobody has looked yet"
    assert status(world.paths).is_reachable


def test_a_name_that_is_refused_is_put_off_and_no_certificate_is_asked_for(world: World) -> None:
    units = world.units(name=lambda: world.name("the provider does not accept the token"))
    steps = world.run(units)
    assert steps["public-ports"][0] is StepState.DONE
    state, said = steps["public-name"]
    assert state is StepState.LATER
    assert said == "The provider does not accept the token. look at the provider's page"
    assert steps["public-certificate"][0] is StepState.LATER
    assert ACME_UNIT not in " ".join(units.acts), "an authority counts failures"
    assert steps["public"][0] is StepState.DONE, "the timers go on trying"


def test_a_router_that_refuses_may_be_forwarding_by_hand(world: World) -> None:
    """The certificate's challenge is the proof; nothing inside can know."""
    steps = world.run(world.units(ports=lambda: world.ports(Cause.SILENT)))
    state, said = steps["public-ports"]
    assert state is StepState.LATER
    assert "by hand" in said
    assert steps["public-certificate"][0] is StepState.DONE
    assert judgements(world)[:3] == [Judgement.UNSURE, Judgement.GOOD, Judgement.GOOD]
    assert status(world.paths).is_reachable


def test_ports_behind_a_carriers_nat_lead_nowhere(world: World) -> None:
    steps = world.run(world.units(ports=lambda: world.ports(router_wan="100.64.1.2")))
    state, said = steps["public-ports"]
    assert state is StepState.LATER
    assert "CGNAT" in said
    assert judgements(world)[0] is Judgement.BAD
    assert not status(world.paths).is_reachable


def test_units_that_leave_nothing_do_not_stop_setup(world: World) -> None:
    steps = world.run(world.units(**dict.fromkeys(("ports", "name", "certificate"), lambda: False)))
    put_off = [name for name, (state, _) in steps.items() if state is StepState.LATER]
    assert put_off == ["public-ports", "public-name", "public-certificate"]


def test_what_was_put_off_is_tried_by_the_next_run(world: World) -> None:
    world.run(world.units(name=lambda: world.name("the provider is down")))
    steps = world.run(world.units())
    assert {state for state, _ in steps.values()} <= {StepState.DONE, StepState.SKIPPED}


def test_an_authority_that_refuses_is_quoted(world: World) -> None:
    steps = world.run(world.units(certificate=lambda: world.certificate("the CA cannot reach us")))
    assert steps["public-certificate"] == (StepState.LATER, "The CA cannot reach us. ")


def test_ones_own_dns_needs_no_provider(world: World) -> None:
    world.publish(Public())
    units = world.units(certificate=world.certificate)
    assert world.run(units)["public-name"][0] is StepState.SKIPPED
    assert [fact.name for fact in outside_facts(world.paths, world.settings)] == [
        "ports",
        "certificate",
        "federation",
    ]


@pytest.mark.parametrize(
    ("judgement", "is_reachable"),
    [(Judgement.GOOD, True), (Judgement.UNSURE, True), (Judgement.BAD, False)],
)
def test_what_was_seen_from_outside_is_told(
    world: World, judgement: Judgement, is_reachable: bool
) -> None:
    """Good or bad it is; as long as nobody knows, it hinders nothing."""
    world.run(world.units())
    found = FederationResult(
        name=SERVER_NAME,
        at=1.0,
        judgement=judgement,
        cause=Seen.NOTHING_ARRIVES,
        sentence="Nothing arrives.",
        next_step="restart the router",
    )
    save_result(world.paths, "federation", found)
    fact = outside_facts(world.paths, world.settings)[-1]
    assert (fact.judgement, fact.detail) == (judgement, "Nothing arrives.")
    assert status(world.paths).is_reachable is is_reachable
    save_result(world.paths, "federation", replace(found, name="former.example.org"))
    assert judgements(world)[-1] is Judgement.UNSURE, "that was another server"


def test_no_other_server_is_to_reach_a_home(world: World) -> None:
    world.publish(Public(way=Way.HOME))
    assert "federation" not in [one.name for one in outside_facts(world.paths, world.settings)]


def status(paths: Paths):
    facts = ImageFacts(version="1", development=False, board="")
    return measure_status(paths, facts, names=(), notes=(), fingerprint="")


def test_the_status_tells_where_apps_connect(world: World) -> None:
    world.run(world.units())
    told = status(world.paths)
    assert told.client_url == f"https://matrix.{SERVER_NAME}"
    assert told.is_public
    assert told.is_reachable


def test_an_expired_certificate_is_none(world: World) -> None:
    world.run(world.units())
    names = (SERVER_NAME, f"matrix.{SERVER_NAME}", f"chat.{SERVER_NAME}")
    save_result(world.paths, "acme", AcmeState(certified=names, ends=1.0))
    assert judgements(world)[2] is Judgement.UNSURE
