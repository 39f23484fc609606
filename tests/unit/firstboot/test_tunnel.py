"""The keeper of the tunnel on a clock that is turned, its verbs, and what the pages say of it."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.answers import Judgement
from appliance.errors import CommandError, StateError
from appliance.paths import Paths
from appliance.settings import (
    Public,
    Reach,
    Secrets,
    Settings,
    Tunnel,
    Way,
    load_secrets,
    load_settings,
    save_toml,
)
from appliance.state import Phase, State, save_state
from firstboot.outside import outside_facts, tunnel_fact
from firstboot.steps import find_steps
from firstboot.tunnel import DIAGNOSE_PAUSE, KNOCK_PAUSE, PATIENCE_SECONDS, TunnelWatch
from firstboot.tunnel_check import SHAKE_SECONDS
from firstboot.tunnel_verbs import forget_foreign_key, print_script, show_tunnel
from services.tunnel.device import DOWN_SECONDS, UP_SECONDS, Look
from services.tunnel.diagnose import Cause, Diagnosis
from services.tunnel.keys import ensure_keys
from services.tunnel.place import INTERFACE
from services.tunnel.status import DEAD_SECONDS, TunnelStatus, load_status, save_status, status_file
from unit.firstboot.machine import HandClock
from unit.services.appliance_files import OVERLAY, make_appliance

SERVER = "127.0.0.1"
EPOCH = 1_700_000_000.0
UNITS = OVERLAY / "usr/lib/systemd/system"
# Of services.tunnel.diagnose: two name servers that say nothing (resolv.conf(5)), and the knocking.
DIAGNOSE_SECONDS = 25


class Clock(HandClock):
    """Two hands: the date may be set, the other one never is."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = EPOCH

    def time(self) -> float:
        return self.now + self.offset


class Wire:
    """Says what wg would; ``shake`` is a handshake now."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.found: Look | None = Look(
            peer="PEER=", endpoint=f"{SERVER}:51820", handshake=0, received=0, sent=148
        )
        self.pointed: list[tuple[str, str, int]] = []

    def shake(self) -> None:
        assert self.found is not None
        self.found = replace(self.found, handshake=int(self.clock.time()), received=92)

    def look(self) -> Look | None:
        return self.found

    def point_at(self, peer: str, server: str, port: int) -> None:
        self.pointed.append((peer, server, port))
        raise CommandError("wg failed")  # a name that leads nowhere: not the end of the keeper


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = make_appliance(tmp_path, reach=Reach.PUBLIC)
    status_file(paths).parent.mkdir(parents=True)
    return paths


@pytest.fixture
def port() -> Iterator[int]:
    """Where somebody hears and is silent."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind((SERVER, 0))
        yield listener.getsockname()[1]


def choose_tunnel(paths: Paths, port: int = 51820) -> Settings:
    settings = load_settings(paths.settings)
    assert settings is not None
    public = Public(way=Way.TUNNEL, tunnel=Tunnel(server=SERVER, port=port))
    settings = replace(settings, public=public)
    save_toml(settings, paths.settings, mode=0o640)
    return settings


def closed_port() -> int:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind((SERVER, 0))
        return int(listener.getsockname()[1])


# ---- the keeper ---------------------------------------------------------------------------------


def test_a_handshake_is_noted_and_grows_old(paths: Paths) -> None:
    clock = Clock()
    wire = Wire(clock)
    watch = TunnelWatch(paths, Tunnel(server=SERVER), interface=wire, clock=clock)
    clock.sleep(2)
    wire.shake()
    clock.sleep(1)
    status = watch.step()
    assert status.age(clock.now) == pytest.approx(1, abs=1)
    assert status == load_status(paths)
    clock.sleep(DEAD_SECONDS - KNOCK_PAUSE)
    assert watch.step().is_alive(clock.now)
    clock.sleep(KNOCK_PAUSE * 2)
    assert not watch.step().is_alive(clock.now)


@pytest.mark.parametrize("jump", [-86400.0, 86400.0 * 300])
def test_a_clock_that_is_set_makes_no_tunnel_old(paths: Paths, jump: float) -> None:
    clock = Clock()
    wire = Wire(clock)
    watch = TunnelWatch(paths, Tunnel(server=SERVER), interface=wire, clock=clock)
    wire.shake()
    watch.step()
    clock.offset += jump
    clock.sleep(KNOCK_PAUSE)
    assert watch.step().is_alive(clock.now)
    clock.sleep(120)
    wire.shake()
    assert watch.step().age(clock.now) == pytest.approx(0, abs=1)


def test_the_cause_is_looked_for_late_and_seldom(paths: Paths) -> None:
    clock = Clock()
    wire = Wire(clock)
    port = closed_port()
    watch = TunnelWatch(paths, Tunnel(server=SERVER, port=port), interface=wire, clock=clock)
    assert watch.step().diagnosis is None
    clock.sleep(PATIENCE_SECONDS + 1)
    found = watch.step().diagnosis
    assert found is not None
    assert found.cause is Cause.CLOSED
    assert wire.pointed == [("PEER=", SERVER, port)], "a name may lead elsewhere by now"
    clock.sleep(DIAGNOSE_PAUSE / 2)
    assert watch.step().diagnosis == found
    assert len(wire.pointed) == 1
    clock.sleep(DIAGNOSE_PAUSE)
    watch.step()
    assert len(wire.pointed) == 2
    wire.shake()
    assert watch.step().diagnosis is None


def test_an_interface_that_is_gone_is_a_problem(paths: Paths) -> None:
    clock = Clock()
    wire = Wire(clock)
    wire.found = None
    status = TunnelWatch(paths, Tunnel(server=SERVER), interface=wire, clock=clock).step()
    assert status.problem == "the interface is gone"


# ---- the units --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "needed"),
    [
        ("hearth-tunnel", DOWN_SECONDS + UP_SECONDS + DOWN_SECONDS),
        ("hearth-tunnel-check", UP_SECONDS + SHAKE_SECONDS + DOWN_SECONDS + DIAGNOSE_SECONDS),
    ],
)
def test_a_unit_lives_as_long_as_what_it_waits_for(unit: str, needed: float) -> None:
    """Killed in the middle, it would leave the interface up."""
    text = (UNITS / f"{unit}.service").read_text()
    assert float(re.findall(r"^TimeoutStartSec=(\d+)$", text, re.MULTILINE)[0]) > needed


def test_a_check_that_is_killed_leaves_no_interface() -> None:
    text = (UNITS / "hearth-tunnel-check.service").read_text()
    [command] = re.findall(r"^ExecStopPost=(.+)$", text, re.MULTILINE)
    assert f"/sys/class/net/{INTERFACE} " in command
    assert f"ip link delete dev {INTERFACE};" in command


# ---- the fact -----------------------------------------------------------------------------------


def test_the_fact_says_how_it_is_and_what_to_do(paths: Paths) -> None:
    settings = choose_tunnel(paths)
    names = [one.name for one in outside_facts(paths, settings)]
    assert names[:2] == ["tunnel", "certificate"], "the router's ports are of no interest"
    assert tunnel_fact(paths).judgement is Judgement.UNSURE
    now = time.monotonic()
    save_status(paths, TunnelStatus(at=now, server=SERVER))
    assert tunnel_fact(paths).detail == "The rented server has not answered yet."
    closed = Diagnosis(cause=Cause.CLOSED, evidence=("it refuses",))
    save_status(paths, TunnelStatus(at=now, server=SERVER, diagnosis=closed))
    fact = tunnel_fact(paths)
    assert fact.judgement is Judgement.BAD
    assert "no WireGuard runs on it" in fact.detail
    assert "paste the script" in fact.next_step
    save_status(paths, TunnelStatus(at=now, server=SERVER, problem="wg-quick failed"))
    assert tunnel_fact(paths).detail == "The tunnel is down: wg-quick failed."
    save_status(paths, TunnelStatus(at=now - 90, server=SERVER, shaken=now - 100))
    assert "Nobody has looked after the tunnel for 9" in tunnel_fact(paths).detail
    assert tunnel_fact(paths).judgement is Judgement.BAD
    save_status(paths, TunnelStatus(at=now, server=SERVER, shaken=now - 20))
    fact = tunnel_fact(paths)
    assert fact.judgement is Judgement.GOOD
    assert f"{SERVER} hands on what comes in; it answered 20 s ago." in fact.detail


def test_the_setup_asks_the_rented_server_instead_of_the_router(paths: Paths) -> None:
    names = [step.name for step in find_steps(choose_tunnel(paths))]
    assert "public-ports" not in names
    assert names.index("public-tunnel") < names.index("public-name")


# ---- the verbs ----------------------------------------------------------------------------------


def test_the_status_for_people_and_for_scripts(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    choose_tunnel(paths)
    assert show_tunnel(paths, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["problem"] == "it was not started"
    now = time.monotonic()
    save_status(
        paths, TunnelStatus(at=now, server=SERVER, endpoint="198.51.100.7:51820", shaken=now - 20)
    )
    assert show_tunnel(paths, as_json=False) == 0
    assert "handshake  20 s ago" in capsys.readouterr().out
    assert show_tunnel(paths, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["alive"], found["age"]) == (True, 20)


def test_there_is_nothing_to_say_without_a_tunnel(paths: Paths) -> None:
    for verb in (lambda: show_tunnel(paths, as_json=False), lambda: print_script(paths)):
        with pytest.raises(StateError, match="not come in through a tunnel"):
            verb()


def test_the_servers_key_is_kept_until_setup_is_over_and_it_works(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = choose_tunnel(paths)
    key = ensure_keys(paths).tunnel_vps_key
    print_script(paths)
    assert key in capsys.readouterr().out
    now = time.monotonic()
    dead = TunnelStatus(at=now, server=SERVER)
    for phase, status in ((Phase.APPLYING, replace(dead, shaken=now)), (Phase.READY, dead)):
        save_state(State(phase=phase), paths.state)
        save_status(paths, status)
        assert not forget_foreign_key(paths, settings)
    save_status(paths, replace(dead, shaken=now))
    before = load_secrets(paths.secrets)
    assert forget_foreign_key(paths, settings)
    assert load_secrets(paths.secrets) == replace(before, tunnel_vps_key="")
    assert isinstance(before, Secrets)
    with pytest.raises(StateError) as caught:
        print_script(paths)
    assert "new-keys" in (caught.value.hint or "")
