"""Choosing another way in after setup: judged like the wizard's page, shown first, then walked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import CheckerError, FieldError, StateError
from appliance.settings import Ddns, Public, Tunnel, Way, load_secrets, load_settings
from appliance.state import Phase, State, save_state
from firstboot.way_verbs import Asked, change_way, leave, put_in_place, save, show_way
from services.tunnel.place import UNIT
from unit.firstboot.test_outside import World
from unit.services.appliance_files import SERVER_NAME, RecordedUnits

DESEC = Ddns(provider="desec", name=SERVER_NAME)
VPS = "198.18.0.7"


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


def test_a_tunnel_has_keys_and_a_server(world: World) -> None:
    with pytest.raises(FieldError) as caught:
        change_way(world.paths, world.units(), Asked(way=Way.TUNNEL))
    assert caught.value.field == "server"
    units = world.units()
    units.jobs[UNIT] = lambda: False
    assert change_way(world.paths, units, Asked(way=Way.TUNNEL, server=VPS, dry_run=True)) == 0
    assert not load_secrets(world.paths.secrets).tunnel_key
    with pytest.raises(FieldError):
        change_way(world.paths, units, Asked(way=Way.PORTS, server=VPS))


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
    programs = tmp_path / "programs"
    programs.mkdir()
    postgres = programs / "postgres"
    postgres.write_text("#!/bin/sh\necho 'FATAL: not this one' >&2\nexit 1\n")
    postgres.chmod(0o755)
    monkeypatch.setattr("services.database.PROGRAMS", programs)
    before = world.settings
    save(world.paths, replace(before, public=Public(way=Way.HOME, ddns=DESEC)))
    with pytest.raises(CheckerError):
        put_in_place(world.paths, RecordedUnits(), before)
    assert world.settings == before
