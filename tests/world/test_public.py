"""An appliance behind a home router becomes reachable by a name that it did not have before.

Everything out there is real: bind9, a DDNS endpoint with DuckDNS's contract, miniupnpd, pebble
under Let's Encrypt's names. Simulated: systemd (systemctl.py), and the settings, which the wizard
would have written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from world.appliance import OWNER, PASSWORD, load_state
from world.internet.names import flush_resolver
from world.internet.places import (
    KEYS,
    LINE_ADDRESS,
    LINE_ADDRESS_AFTER,
    NAMESERVER,
    NAMESERVER_NAME,
    PROVIDER_KEY,
)
from world.internet.world import World
from world.public import (
    ADDRESS,
    NAME,
    NAMES,
    from_outside,
    public_appliance,
    result,
    run_jobs,
)
from world.sandbox import Sandbox
from world.test_portmap import wait_for_uptime

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture(scope="module")
def hearth(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Provisioned with Dendrite, public, plugged into the home's switch."""
    with public_appliance(world, tmp_path_factory.mktemp("hearth"), "dendrite") as sandbox:
        yield sandbox


def resolved(world: World) -> str:
    """By the name server itself, so that no cache stands between."""
    argv = ["dig", f"@{NAMESERVER}", "+short", NAME]
    return world.wan.host.run(argv).stdout.strip()


def test_name_ports_and_certificate_come_by_themselves(world: World, hearth: Sandbox) -> None:
    run_jobs(hearth, "portmap", "ddns", "acme")
    assert resolved(world) == LINE_ADDRESS
    assert result(hearth, "acme")["certified"] == list(NAMES)


def test_the_world_reaches_the_homeserver_and_nothing_else(world: World, hearth: Sandbox) -> None:
    assert load_state(hearth)["phase"] == "ready"
    delegation = json.loads(from_outside(world, f"https://{NAME}/.well-known/matrix/server"))
    assert delegation == {"m.server": f"matrix.{NAME}:443"}
    client = json.loads(from_outside(world, f"https://{NAME}/.well-known/matrix/client"))
    assert client["m.homeserver"]["base_url"] == f"https://matrix.{NAME}"
    assert "versions" in from_outside(world, f"https://matrix.{NAME}/_matrix/client/versions")
    keys = json.loads(from_outside(world, f"https://matrix.{NAME}:8448/_matrix/key/v2/server"))
    assert keys["server_name"] == NAME
    for path in ("/", "/setup/you", "/sign-in", "/_synapse/admin/v1/users", "/claim"):
        argv = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"https://{NAME}{path}"]
        assert world.wan.host.run(argv).stdout == "404", path


def test_no_spelling_of_a_path_leads_to_the_administration(world: World, hearth: Sandbox) -> None:
    """nginx looks at the decoded path and passes on the one that came; Host may be another name."""
    curl = ["curl", "-sS", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", "-H"]
    hearth_says = "Host: " + NAME
    for path in (
        "/_synapse/admin/v2/users/..%2f..%2f..%2f..%2f_matrix%2fx",
        "/_dendrite/admin/purgeRoom/..%2f..%2f..%2f_matrix%2fx",
        "/_matrix/..%2f_synapse/admin/v1/users",
        "/_matrix/../_synapse/admin/v1/users",
        "/_synapse/client/%2e%2e/admin/v1/users",
        "/%5fsynapse/admin/v1/users",
    ):
        argv = [*curl, hearth_says, f"https://{NAME}{path}"]
        assert world.wan.host.run(argv).stdout == "404", path
    for name in ("hearth.local", ADDRESS, "localhost"):
        for port in (443, 8448):
            argv = [*curl, f"Host: {name}", f"https://{NAME}:{port}/"]
            assert world.wan.host.run(argv, check=False).stdout in ("000", "421"), f"{name}:{port}"


def test_strangers_who_say_nothing_do_not_keep_the_owner_out(world: World, hearth: Sandbox) -> None:
    """More connections than nginx once took in all; each is given up after some seconds."""
    code = (
        "import socket, time\n"
        f"held = [socket.create_connection(({LINE_ADDRESS!r}, 443)) for _ in range(700)]\n"
        "print('held', flush=True)\n"
        "held[0].settimeout(60)\n"
        "print(repr(held[0].recv(1)), flush=True)\n"
    )
    world.wan.host.start("idlers", ["python3", "-c", code])
    world.wan.host.wait_for("idlers", lambda: "held" in world.wan.host.log("idlers"), "700 held")
    argv = ["curl", "-skL", "--max-time", "10", f"https://{ADDRESS}/"]
    assert "Hearth" in world.lan.run(argv).stdout
    world.wan.host.wait_for(
        "idlers", lambda: "b''" in world.wan.host.log("idlers"), "the end of the first", seconds=60
    )


def test_the_same_names_work_at_home(world: World, hearth: Sandbox) -> None:
    """Whatever the router does with its own address from inside."""
    argv = ["curl", "-sS", "--fail", "--resolve", f"matrix.{NAME}:443:{ADDRESS}",
            f"https://matrix.{NAME}/_matrix/client/versions"]  # fmt: skip
    assert "versions" in world.lan.run(argv).stdout


def test_a_login_from_far_away(world: World, hearth: Sandbox) -> None:
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": OWNER},
            "password": PASSWORD}  # fmt: skip
    argv = ["curl", "-sS", "--fail", "--json", json.dumps(body),
            f"https://matrix.{NAME}/_matrix/client/v3/login"]  # fmt: skip
    answer = json.loads(world.wan.host.run(argv, seconds=60).stdout)
    assert answer["user_id"] == f"@{OWNER}:{NAME}"


def test_a_new_address_is_followed(world: World, hearth: Sandbox) -> None:
    world.change_address(LINE_ADDRESS_AFTER)
    # As if the first update had been ten minutes ago: sooner, the provider's limit has us wait.
    file = hearth.data / "hearth/results/ddns.json"
    memory = json.loads(file.read_text())
    for name in ("acknowledged_at", "attempted_at", "refreshed_at", "not_before"):
        memory["contract"][name] = max(0.0, memory["contract"].get(name, 0.0) - 600)
    file.write_text(json.dumps(memory))
    # As hearth-router.service starts it when the router tells of its new address.
    run_jobs(hearth, "portmap --urgent", "ddns")
    flush_resolver(world.wan.host)
    assert resolved(world) == LINE_ADDRESS_AFTER
    assert "versions" in from_outside(world, f"https://matrix.{NAME}/_matrix/client/versions")


def test_another_account_takes_over_at_once(world: World, hearth: Sandbox) -> None:
    """``hearthctl ddns set``: the name moves to a name server that takes signed updates."""
    wait_for_uptime(world)
    world.change_address(LINE_ADDRESS)
    run_jobs(hearth, "portmap --urgent")
    argv = ["python3", "-m", "firstboot", "ddns", "set", "--provider", "rfc2136", "--json",
            "--username", PROVIDER_KEY, "--endpoint", NAMESERVER_NAME]  # fmt: skip
    refused = hearth.run(argv, input="d3Jvbmcgd3Jvbmcgd3Jvbmc=\n", check=False)
    assert refused.returncode != 0
    assert "does not accept" in refused.stderr
    assert resolved(world) == LINE_ADDRESS_AFTER
    done = hearth.run(argv, input=f"{KEYS[PROVIDER_KEY]}\n", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert (said["provider"], said["names"], said["problems"]) == ("rfc2136", list(NAMES), [])
    assert resolved(world) == LINE_ADDRESS
    assert KEYS[PROVIDER_KEY] not in done.stdout + done.stderr
    flush_resolver(world.wan.host)
    assert "versions" in from_outside(world, f"https://matrix.{NAME}/_matrix/client/versions")
