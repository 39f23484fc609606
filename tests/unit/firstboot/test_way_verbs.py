"""Choosing another way in after setup: judged like the wizard's page, shown first, then walked."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import CheckerError, FieldError, StateError
from appliance.settings import Ddns, Public, Tunnel, Way, load_secrets, load_settings
from appliance.state import Phase, State, save_state
from firstboot.steps.outside import TARGET
from firstboot.way_verbs import (
    ROUTER,
    Asked,
    change_way,
    judge,
    leave,
    put_in_place,
    save,
    show_way,
)
from services.configuration import apply_configuration
from services.pending import save_marks
from services.plan import load_plan, render_plan
from services.render import fingerprints
from services.tunnel.keys import ensure_keys
from services.tunnel.place import CONFIG, UNIT
from services.tunnel.status import TunnelStatus, save_status, status_file
from unit.firstboot.test_outside import JobUnits, World
from unit.services.appliance_files import SERVER_NAME, RecordedUnits

DESEC = Ddns(provider="desec", name=SERVER_NAME)
VPS = "198.18.0.7"
THROUGH_VPS = Public(
    way=Way.TUNNEL, tunnel=Tunnel(server=VPS, port=443), ddns=DESEC, sub_names=True
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    save_state(State(phase=Phase.READY), world.paths.state)
    world.ports()
    return world


def public(world: World) -> Public:
    settings = load_settings(world.paths.settings)
    assert settings is not None
    assert settings.public is not None
    return settings.public


def accept(world: World, after: Public) -> None:
    """As if this had been in use before: the programs whose checkers judge it are not here."""
    before = world.settings
    save(world.paths, replace(before, public=after))
    plan = load_plan(world.paths)
    items = render_plan(world.paths, plan, config=world.paths.rendered)
    save_marks(world.paths, fingerprints(plan.version, items))
    save(world.paths, before)


class Machine(JobUnits):
    """Where all is well, the rented server too; a tunnel is taken down by what brought it up."""

    def __init__(self, world: World) -> None:
        super().__init__(world.units().jobs | {UNIT: self._keep})
        self.active |= {TARGET}
        self.paths = world.paths
        status_file(world.paths).parent.mkdir(parents=True)

    def _keep(self) -> bool:
        now = time.monotonic()
        save_status(self.paths, TunnelStatus(at=now, server=VPS, shaken=now))
        return True

    def stop(self, unit: str) -> None:
        super().stop(unit)
        assert unit != UNIT or (self.paths.rendered / CONFIG).exists(), "wg-quick down needs it"


def test_what_is_in_use_and_what_else_there_is(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_way(world.paths, as_json=False) == 0
    said = capsys.readouterr().out
    assert said.startswith("ports: Your router forwards port 443")
    assert "not possible: This connection has no IPv6" in said
    show_way(world.paths, as_json=True)
    table = json.loads(capsys.readouterr().out)
    assert table["way"] == "ports"
    assert len(table["ways"]) == len(Way)


def test_a_dry_run_changes_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    before = world.paths.settings.read_bytes()
    units = world.units()
    assert change_way(world.paths, units, Asked(way=Way.PORT, dry_run=True)) == 0
    assert capsys.readouterr().out == "way: ports -> port\nport: 443 -> 8448\n"
    assert change_way(world.paths, units, Asked(way=Way.PORTS, dry_run=True)) == 0
    assert capsys.readouterr().out == "nothing would change\n"
    assert world.paths.settings.read_bytes() == before
    assert not units.acts


def test_a_tunnel_has_a_server_and_nothing_else_has(world: World) -> None:
    with pytest.raises(FieldError) as caught:
        change_way(world.paths, world.units(), Asked(way=Way.TUNNEL))
    assert caught.value.field == "server"
    with pytest.raises(FieldError) as caught:
        change_way(world.paths, world.units(), Asked(way=Way.PORTS, server=VPS))
    assert caught.value.field == "server"
    asked = Asked(way=Way.TUNNEL, server=VPS, dry_run=True)
    assert change_way(world.paths, world.units(), asked) == 0
    assert not load_secrets(world.paths.secrets).tunnel_key


def test_into_the_tunnel_the_router_is_left_alone(world: World) -> None:
    accept(world, THROUGH_VPS)
    units = Machine(world)
    units.active |= {ROUTER}
    asked = Asked(way=Way.TUNNEL, server=VPS, port=443)
    assert change_way(world.paths, units, asked) == 0
    assert public(world) == THROUGH_VPS
    key = load_secrets(world.paths.secrets).tunnel_key
    assert f"PrivateKey = {key}" in (world.paths.rendered / CONFIG).read_text()
    assert f"start {UNIT}" in units.acts
    assert units.acts[-1] == f"stop {ROUTER}"


def test_out_of_the_tunnel_the_router_is_heard_again(world: World) -> None:
    """The boot has skipped its unit, and the target that wants it is active already."""
    world.publish(THROUGH_VPS)
    ensure_keys(world.paths)
    apply_configuration(world.paths, RecordedUnits(), boot=True)
    config = world.paths.rendered / CONFIG
    assert config.exists()
    accept(world, replace(THROUGH_VPS, way=Way.PORTS, tunnel=None))
    units = Machine(world)
    units.active |= {UNIT}
    units.jobs[ROUTER] = lambda: not config.exists()  # else its condition fails
    assert change_way(world.paths, units, Asked(way=Way.PORTS)) == 0
    assert public(world).way is Way.PORTS
    assert units.acts[0] == f"stop {UNIT}"
    assert units.acts[-1] == f"start {ROUTER}"
    acts = list(units.acts)
    assert change_way(world.paths, units, Asked(way=Way.PORTS)) == 0
    assert ROUTER not in " ".join(units.acts[len(acts) :]), "it is listening"


def test_back_in_the_tunnel_at_once_its_keeper_is_started(world: World) -> None:
    """The last word of the one that was stopped is still there, and still good."""
    accept(world, THROUGH_VPS)
    units = Machine(world)
    units.jobs[UNIT]()
    assert change_way(world.paths, units, Asked(way=Way.TUNNEL, server=VPS, port=443)) == 0
    assert f"start {UNIT}" in units.acts


def test_the_port_in_use_stays_unless_another_is_asked_for(world: World) -> None:
    settings, port = world.settings, Public(way=Way.PORT, port=4443, ddns=DESEC)
    assert judge(settings, port, Asked(way=Way.PORT)).port == 4443
    assert judge(settings, port, Asked(way=Way.PORT, port=8448)).port == 8448
    assert judge(settings, THROUGH_VPS, Asked(way=Way.PORT)).port == 8448, "443 was the tunnel's"
    assert judge(settings, THROUGH_VPS, Asked(way=Way.TUNNEL)) == THROUGH_VPS
    moved = judge(settings, THROUGH_VPS, Asked(way=Way.TUNNEL, server="198.18.0.8"))
    assert moved.tunnel == Tunnel(server="198.18.0.8", port=443)
    for way, field in ((Way.PORT, "port"), (Way.TUNNEL, "tunnel_port")):
        with pytest.raises(FieldError) as caught:
            judge(settings, THROUGH_VPS, Asked(way=way, port=0))
        assert caught.value.field == field


def test_what_cannot_be_is_refused_before_anything_is_changed(world: World) -> None:
    world.publish(Public(ddns=Ddns(provider="noip", name=SERVER_NAME)))
    with pytest.raises(FieldError, match="TXT record"):
        change_way(world.paths, world.units(), Asked(way=Way.HOME))
    assert public(world).way is Way.PORTS


def test_before_setup_is_over_the_wizard_asks(world: World) -> None:
    save_state(State(phase=Phase.SETUP), world.paths.state)
    with pytest.raises(StateError, match="setup is not over"):
        show_way(world.paths, as_json=False)


def test_a_server_of_the_home_network_stays_there(world: World) -> None:
    settings = load_settings(world.paths.settings)
    assert settings is not None
    table = world.paths.settings.read_text().partition("[public]")[0]
    world.paths.settings.write_text(table)
    with pytest.raises(StateError, match="its name is part of it"):
        show_way(world.paths, as_json=False)


def test_leaving_the_tunnel_stops_it() -> None:
    units = RecordedUnits(UNIT)
    tunnel = Public(way=Way.TUNNEL, tunnel=Tunnel(server=VPS), ddns=DESEC)
    leave(units, tunnel, tunnel)
    assert not units.acts
    leave(units, tunnel, Public(ddns=DESEC))
    assert units.acts == [f"stop {UNIT}"]


def test_a_tunnel_gets_its_keys_with_the_settings(world: World) -> None:
    after = Public(way=Way.TUNNEL, tunnel=Tunnel(server=VPS), ddns=DESEC)
    save(world.paths, replace(world.settings, public=after))
    assert public(world) == after
    keys = load_secrets(world.paths.secrets)
    assert keys.tunnel_key
    save(world.paths, replace(world.settings, public=after))
    assert load_secrets(world.paths.secrets) == keys, "the script over there stays good"


def test_settings_that_a_checker_refuses_are_taken_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next start would render what was refused."""
    program = tmp_path / "refuses"
    program.write_text("#!/bin/sh\necho 'emerg: not this one' >&2\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / "etc/nginx").mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr("services.proxy.PROGRAM", program)
    before = replace(world.settings, public=THROUGH_VPS)
    save(world.paths, replace(before, public=Public(way=Way.HOME, ddns=DESEC)))
    units = RecordedUnits()
    with pytest.raises(CheckerError):
        put_in_place(world.paths, units, before)
    assert world.settings == before
    assert units.acts == [f"start {UNIT}"], "it was stopped before"
