"""The whole evening behind a carrier's NAT: set up, certificate by DNS, federation, and it stays.

Real: WireGuard (wireguard-go where the kernel has none), wg-quick, nftables, the rented server and
its script, a carrier's NAT, bind9, a DDNS endpoint with DuckDNS's contract, pebble, both Synapses.
Simulated: systemd (systemctl.py), and the settings, which the wizard would have written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.deadline import wait_until
from appliance.errors import CommandError
from services.tunnel.place import OURS, THEIRS
from world.appliance import OWNER, PASSWORD, load_state
from world.internet.options import VARIANTS
from world.internet.places import (
    LINE_ADDRESS_AFTER,
    NAMESERVER,
    OUTSIDER,
    REMOTE,
    REMOTE_NAME,
    VPS,
    VPS_NAME,
)
from world.internet.remote import PASSWORD as REMOTE_PASSWORD
from world.internet.remote import Remote
from world.internet.vps import Vps
from world.internet.world import World
from world.public import ADDRESS, NAME, NAMES, from_outside, public_appliance, result, run_jobs
from world.sandbox import Sandbox
from world.test_internet import answer, call
from world.tree import REPOSITORY

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]

MATRIX = f"https://matrix.{NAME}"
VERSIONS = f"{MATRIX}/_matrix/client/versions"
TALK_SECONDS = 240
# Knocking every ten seconds, and fifteen more until WireGuard believes that nobody answers.
BACK_SECONDS = 60.0
CHOOSE = f"""
from dataclasses import replace
from appliance.paths import Paths
from appliance.settings import *
from services.tunnel.keys import ensure_keys
paths = Paths()
settings = load_settings(paths.settings)
public = replace(settings.public, way=Way.TUNNEL, tunnel=Tunnel(server={VPS_NAME!r}))
save_toml(replace(settings, public=public), paths.settings, mode=0o640)
ensure_keys(paths)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), VARIANTS["cgnat"]) as world:
        yield world


@pytest.fixture(scope="module")
def vps(world: World) -> Vps:
    return Vps(world)


@pytest.fixture(scope="module")
def hearth(world: World, vps: Vps, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Set up with Synapse, the way in being a tunnel whose script was pasted before."""

    def choose(sandbox: Sandbox) -> None:
        sandbox.python(CHOOSE)
        vps.paste(sandbox.hearthctl("tunnel", "script").stdout)

    state = tmp_path_factory.mktemp("hearth")
    with public_appliance(world, state, "synapse", choose) as sandbox:
        yield sandbox
        sandbox.run(["systemctl", "stop", "hearth-tunnel.service"])


@pytest.fixture(scope="module")
def remote(world: World) -> Remote:
    return Remote(world)


def tunnel_status(hearth: Sandbox) -> dict[str, Any]:
    return dict(json.loads(hearth.hearthctl("tunnel", "status", "--json", check=False).stdout))


def answers(world: World) -> bool:
    argv = ["curl", "-sS", "--fail", "--max-time", "2", "--interface", OUTSIDER, VERSIONS]
    return world.wan.host.run(argv, check=False).returncode == 0


def test_the_setup_ends_with_a_server_that_the_world_reaches(
    world: World, vps: Vps, hearth: Sandbox
) -> None:
    steps = {step["name"]: step["state"] for step in load_state(hearth)["steps"]}
    public = {name: state for name, state in steps.items() if name.startswith("public")}
    assert "public-ports" not in public, "the router is not asked for anything"
    assert set(public.values()) <= {"done", "skipped"}, load_state(hearth)["steps"]
    argv = ["dig", f"@{NAMESERVER}", "+short", NAME]
    assert world.wan.host.run(argv).stdout.split() == [VPS]
    found = result(hearth, "acme")
    assert (found["certified"], found["method"]) == (list(NAMES), "dns-01")
    assert tunnel_status(hearth)["alive"]
    facts = hearth.python(
        "from appliance.paths import Paths; from appliance.settings import load_settings;"
        "from firstboot.outside import outside_facts; paths = Paths();"
        "print([(one.name, one.judgement.value)"
        " for one in outside_facts(paths, load_settings(paths.settings))])"
    )
    assert "('tunnel', 'good'), ('name', 'good'), ('certificate', 'good')" in facts


def test_the_world_comes_in_through_the_rented_server(world: World, hearth: Sandbox) -> None:
    """With our own certificate: curl trusts pebble's root, and nobody else has its key."""
    delegation = json.loads(from_outside(world, f"https://{NAME}/.well-known/matrix/server"))
    assert delegation == {"m.server": f"matrix.{NAME}:443"}
    assert "versions" in from_outside(world, VERSIONS)
    keys = json.loads(from_outside(world, f"{MATRIX}:8448/_matrix/key/v2/server"))
    assert keys["server_name"] == NAME
    moved = from_outside(world, f"http://{NAME}/anything")
    assert "301 Moved" in moved
    code = "import ssl; print(ssl.get_server_certificate((%r, 443)))" % NAME  # noqa: UP031
    seen = world.wan.host.python(code)
    ours = (hearth.data / "certificates/public.pem").read_text()
    assert seen.strip() in ours


def test_visitors_keep_their_addresses(world: World, hearth: Sandbox) -> None:
    """As nginx limits them, and as Synapse shows them to the owner."""
    user = {"type": "m.id.user", "user": OWNER}
    body = {"type": "m.login.password", "identifier": user, "password": PASSWORD}
    argv = ["curl", "-sS", "--fail", "--interface", OUTSIDER]
    login = [*argv, "--json", json.dumps(body), f"{MATRIX}/_matrix/client/v3/login"]
    token = json.loads(world.wan.host.run(login).stdout)["access_token"]
    me = [*argv, "-H", f"Authorization: Bearer {token}"]
    devices = json.loads(world.wan.host.run([*me, f"{MATRIX}/_matrix/client/v3/devices"]).stdout)[
        "devices"
    ]
    assert OUTSIDER in {device["last_seen_ip"] for device in devices}


def test_nothing_else_is_there_for_the_tunnel(world: World, vps: Vps, hearth: Sandbox) -> None:
    """Whoever owns the rented server may send what he likes: to any of our ports and addresses."""
    answer(world.lan, 9)  # the home network's own machines, too
    with listeners(hearth, 22, 8008):
        vps.host.run(["nft", "delete", "table", "inet", "hearth"])
        vps.host.run(["wg", "set", "hearth", "peer", peer(vps), "allowed-ips", "0.0.0.0/0"])
        for address in (ADDRESS, world.lan_address(world.lan)):
            vps.host.run(["ip", "route", "replace", address, "dev", "hearth"])
        for port in (8080, 8443, 8448):
            assert connects(vps, OURS, port), port
        for address in (OURS, ADDRESS):
            for port in (22, 80, 443, 8008):
                assert not connects(vps, address, port), (address, port)
        assert not connects(vps, ADDRESS, 8443), "by the tunnel's own address only"
        assert not call(vps.host, world.lan_address(world.lan), 9)
        # All of these are there, for the home network.
        for port in (22, 80, 443, 8008, 8443):
            assert connects_from(world.lan, ADDRESS, port), port
    vps.host.run(["wg", "set", "hearth", "peer", peer(vps), "allowed-ips", f"{OURS}/32"])
    vps.host.run(["nft", "-f", "/etc/wireguard/hearth.nft"])
    for path in ("/", "/setup/you", "/sign-in", "/_synapse/admin/v1/users", "/claim"):
        argv = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"https://{NAME}{path}"]
        assert world.wan.host.run(argv).stdout == "404", path


def test_our_own_traffic_takes_the_usual_way(world: World, hearth: Sandbox) -> None:
    route = hearth.run(["ip", "route", "get", REMOTE]).stdout
    assert "dev eth0" in route
    assert "dev hearth" in hearth.run(["ip", "route", "get", REMOTE, "from", OURS]).stdout
    assert THEIRS not in hearth.run(["ip", "route"]).stdout


def test_at_home_only_the_home_networks_address_is_told(hearth: Sandbox) -> None:
    """By hearth.local, the QR code and the console; and the device's certificate is for it."""
    assert OURS in hearth.run(["ip", "-4", "address", "show", "dev", "hearth"]).stdout
    told = hearth.python("from services.network import local_addresses; print(local_addresses())")
    assert f"'{ADDRESS}'" in told
    assert OURS not in told
    hearth.run(["systemctl", "start", "hearth-certificate.service"])
    code = (
        "from appliance.paths import Paths; from services.authority import certified_addresses;"
        "print(certified_addresses(Paths()))"
    )
    assert OURS not in hearth.python(code)


@pytest.mark.parametrize("e2e", [False, True], ids=["plain", "encrypted"])
def test_both_servers_speak_with_each_other(
    world: World, hearth: Sandbox, remote: Remote, tmp_path: Path, e2e: bool
) -> None:
    name = f"guest{time.time_ns()}"
    remote.add_user(name)
    people = [[MATRIX, f"@{OWNER}:{NAME}", PASSWORD],
              [f"https://{REMOTE_NAME}", f"@{name}:{REMOTE_NAME}", REMOTE_PASSWORD]]  # fmt: skip
    authority = tmp_path / "roots.pem"
    authority.write_text("".join(world.wan.roots))
    order = {"addresses": {f"matrix.{NAME}": VPS, REMOTE_NAME: REMOTE},
             "authority": str(authority), "people": people, "alias": f"#{name}:{NAME}",
             "e2e": e2e}  # fmt: skip
    argv = ["nsenter", f"--target={world.wan.host.pid}", "--net",
            sys.executable, "-m", "world.chat", json.dumps(order)]  # fmt: skip
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=TALK_SECONDS, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    room, *decrypted = json.loads(done.stdout)
    assert room.startswith("!")
    assert decrypted == [e2e, e2e]


def test_no_key_is_in_what_anything_says(hearth: Sandbox) -> None:
    """The keeper, the jobs and the setup in their logs, the results, the verbs."""
    secrets = tomllib.loads((hearth.data / "hearth/secrets.toml").read_text())
    keys = [value for name, value in secrets.items() if name.startswith("tunnel_") and value]
    assert len(keys) >= 3
    said = hearth.run(["sh", "-c", "cat /run/units/*.log /run/hearth-tunnel/status.json "
                       "/data/hearth/results/*.json"]).stdout  # fmt: skip
    for verb in (["tunnel", "status"], ["doctor"], ["way"]):
        done = hearth.hearthctl(*verb, check=False)
        said += done.stdout + done.stderr
    assert "the rented server answers at" in said, "the keeper's own words"
    assert not [key for key in keys if key in said]


def test_the_servers_key_is_forgotten_once_it_works(hearth: Sandbox) -> None:
    secrets = hearth.data / "hearth/secrets.toml"
    assert 'tunnel_vps_key = ""' not in secrets.read_text()
    run_jobs(hearth, "portmap")
    assert 'tunnel_vps_key = ""' in secrets.read_text()
    refused = hearth.hearthctl("tunnel", "script", check=False)
    assert refused.returncode == 11
    assert "new-keys" in refused.stderr
    assert not (hearth.data / "hearth/results/portmap.json").exists(), "no router was asked"


def test_doctor_sees_that_it_passes_things_on(hearth: Sandbox, vps: Vps) -> None:
    def finding() -> dict[str, Any]:
        done = hearth.hearthctl("doctor", "tunnel", "--json", check=False)
        [found] = json.loads(done.stdout)["findings"]
        return dict(found)

    assert finding()["verdict"] == "ok", finding()
    vps.host.run(["nft", "delete", "table", "inet", "hearth"])
    assert "port 80" in finding()["evidence"]
    assert finding()["verdict"] == "fail"
    vps.host.run(["nft", "-f", "/etc/wireguard/hearth.nft"])
    assert finding()["verdict"] == "ok"


def test_a_new_address_of_the_line_is_no_matter(world: World, hearth: Sandbox) -> None:
    world.change_address(LINE_ADDRESS_AFTER)
    seconds = measure_comeback(world, "new address behind the carrier's NAT")
    assert seconds < BACK_SECONDS
    assert "a rented server" in hearth.hearthctl("doctor", "reach").stdout


def test_a_reboot_of_the_router_is_no_matter(world: World, hearth: Sandbox) -> None:
    world.reboot_router()
    assert measure_comeback(world, "reboot of router and carrier's NAT") < BACK_SECONDS


def test_a_reboot_of_the_rented_server_is_no_matter(
    world: World, vps: Vps, hearth: Sandbox
) -> None:
    vps.power_off()
    assert not answers(world)
    vps.power_on()
    assert measure_comeback(world, "reboot of the rented server") < BACK_SECONDS


@pytest.mark.long
def test_a_long_outage_is_named_and_ends(world: World, vps: Vps, hearth: Sandbox) -> None:
    """No handshake for three minutes: the cause is found out, and told."""
    vps.power_off()
    status = wait_until(
        lambda: (found := tunnel_status(hearth)).get("diagnosis") and found,
        seconds=260, every=5, what="the diagnosis",
    )  # fmt: skip
    assert status["diagnosis"]["cause"] == "nowhere", status
    assert not status["alive"]
    vps.power_on()
    assert measure_comeback(world, "three minutes without the rented server") < BACK_SECONDS
    wait_until(lambda: tunnel_status(hearth)["alive"], seconds=30, what="good news")


def test_new_keys_are_for_a_new_server(world: World, vps: Vps, hearth: Sandbox) -> None:
    script = hearth.hearthctl("tunnel", "new-keys").stdout
    assert not answers(world), "the old server's keys are worth nothing now"
    vps.paste(script)
    assert measure_comeback(world, "new keys") < BACK_SECONDS


def measure_comeback(world: World, what: str) -> float:
    begin = time.monotonic()
    wait_until(lambda: answers(world), seconds=BACK_SECONDS * 2, what=what, every=0.2)
    seconds = time.monotonic() - begin
    print(f"{what}: reachable again after {seconds:.1f} s")
    return seconds


def peer(vps: Vps) -> str:
    return vps.host.run(["wg", "show", "hearth", "peers"]).stdout.strip()


def connects(vps: Vps, address: str, port: int) -> bool:
    return connects_from(vps.host, address, port)


def connects_from(host: Any, address: str, port: int) -> bool:
    code = f"import socket; socket.create_connection(({address!r}, {port}), 2).close()"
    try:
        host.python(code)
    except CommandError:
        return False
    return True


@contextmanager
def listeners(hearth: Sandbox, *ports: int) -> Iterator[None]:
    """Something that must not be reached, for example SSH."""
    code = ("import socket, time\n"
            f"kept = [socket.create_server(('', port)) for port in {ports}]\n"
            "time.sleep(600)")  # fmt: skip
    argv = ["nsenter", f"--target={hearth.pid}", "--net", sys.executable, "-c", code]
    with subprocess.Popen(argv) as process:
        try:
            wait_until(
                lambda: hearth.run(["ss", "-Hltn", f"sport = :{ports[0]}"]).stdout,
                seconds=10, what="the listeners",
            )  # fmt: skip
            yield
        finally:
            process.kill()
