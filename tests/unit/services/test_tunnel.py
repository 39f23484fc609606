"""Both halves of the tunnel as they are written, what wg says, and why nobody answers."""

from __future__ import annotations

import base64
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.settings import Public, Reach, Secrets, Tunnel, Way, load_settings, save_toml
from services.plan import load_plan, render_plan
from services.portmap.mapper import PORTS
from services.tunnel.device import Look, parse_dump
from services.tunnel.diagnose import EXPLANATIONS, Cause, diagnose, knock_tcp
from services.tunnel.keys import ensure_keys, forget_keys, has_keys, make_keys, public_key
from services.tunnel.layout import render_script
from services.tunnel.place import CONFIG, GUARD, INTERFACE, OURS, THEIRS
from services.tunnel.status import (
    DEAD_SECONDS,
    SILENT_SECONDS,
    TunnelStatus,
    load_status,
    save_status,
    status_file,
)
from unit.services.appliance_files import make_appliance

SERVER = "198.51.100.7"
TUNNEL = Tunnel(server=SERVER)
OVERLAY = Paths(Path(__file__).resolve().parents[3] / "overlays/base")
# RFC 7748, section 6.1: Alice's key pair.
ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"


def base64_of(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


# ---- keys ---------------------------------------------------------------------------------------


def test_a_public_key_is_the_one_of_the_rfc() -> None:
    assert public_key(base64_of(ALICE)) == base64_of(ALICE_PUBLIC)


def test_keys_are_different_ones_and_kept(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.hearth.mkdir(parents=True)
    save_toml(Secrets(form_secret="stays"), paths.secrets, mode=0o600)
    made = ensure_keys(paths)
    assert has_keys(made)
    assert made.form_secret == "stays"
    assert len({made.tunnel_key, made.tunnel_vps_key, made.tunnel_preshared}) == 3
    assert made.tunnel_vps_public == public_key(made.tunnel_vps_key)
    assert ensure_keys(paths) == made
    assert paths.secrets.stat().st_mode & 0o777 == 0o600
    without = replace(made, tunnel_vps_key="")
    assert has_keys(without), "our half needs only the other's public key"
    assert forget_keys(made) == Secrets(form_secret="stays")
    for secret in (made.tunnel_key, made.tunnel_vps_key, made.tunnel_preshared):
        assert secret not in repr(made)


# ---- what is written ----------------------------------------------------------------------------


@pytest.fixture
def rendered(tmp_path: Path) -> dict[str, str]:
    paths = make_appliance(tmp_path, reach=Reach.PUBLIC)
    settings = load_settings(paths.settings)
    assert settings is not None
    public = Public(way=Way.TUNNEL, tunnel=TUNNEL)
    save_toml(replace(settings, public=public), paths.settings, mode=0o640)
    ensure_keys(paths)
    items = render_plan(paths, load_plan(paths), config=Path("/etc/hearth"))
    return {item.target: item.text for item in items}


def test_our_half_leads_back_only_what_came_through_it(rendered: dict[str, str]) -> None:
    config = rendered[CONFIG]
    assert f"Endpoint = {SERVER}:51820" in config
    assert "Table = off" in config
    assert f"ip -4 rule add from {OURS} lookup" in config
    assert "AllowedIPs = 0.0.0.0/0" in config
    guard = config.index("PreUp = nft -f /etc/hearth/wireguard/guard.nft")
    assert guard < config.index("PostUp"), "before anything can come in"


def test_the_guard_knows_the_public_listeners_only(rendered: dict[str, str]) -> None:
    guard = rendered[GUARD]
    [ports] = re.findall(r"tcp dport \{ ([0-9, ]+) \} accept", guard)
    assert {int(port) for port in ports.split(",")} == {port.internal for port in PORTS}
    assert not {80, 443, 22} & {int(port) for port in ports.split(",")}
    assert f'iifname != "{INTERFACE}" accept' in guard
    assert guard.index("accept\n        drop") > 0


@pytest.mark.parametrize("way", [Way.PORTS, Way.HOME])
def test_without_a_tunnel_nothing_is_written(tmp_path: Path, way: Way) -> None:
    paths = make_appliance(tmp_path, reach=Reach.PUBLIC)
    settings = load_settings(paths.settings)
    assert settings is not None
    save_toml(replace(settings, public=Public(way=way)), paths.settings, mode=0o640)
    ensure_keys(paths)
    items = render_plan(paths, load_plan(paths), config=Path("/etc/hearth"))
    assert not [item.target for item in items if item.target.startswith("wireguard")]


@pytest.fixture(scope="module")
def secrets() -> Secrets:
    return make_keys(Secrets())


def test_the_script_survives_being_typed(secrets: Secrets) -> None:
    """Tabs would complete names and exclamation marks call up history in a shell of hands."""
    script = render_script(OVERLAY, TUNNEL, secrets)
    assert not re.search(r"[\t!]", script)
    assert script.isascii()
    assert max(map(len, script.splitlines())) < 1000, "a terminal takes 4095 bytes a line"
    assert script.endswith("END-OF-HEARTH\nsh /root/hearth-vps.sh\n")
    assert script.count("END-OF-HEARTH\n") == 1


def test_the_script_holds_its_half_and_no_more(secrets: Secrets) -> None:
    script = render_script(OVERLAY, Tunnel(server=SERVER, port=443), secrets)
    assert f"PrivateKey = {secrets.tunnel_vps_key}" in script
    assert f"PublicKey = {public_key(secrets.tunnel_key)}" in script
    assert f"PresharedKey = {secrets.tunnel_preshared}" in script
    assert secrets.tunnel_key not in script
    assert "ListenPort = 443\n" in script
    assert f"Address = {THEIRS}/32" in script
    for port in PORTS:
        assert f"tcp dport {port.external} dnat ip to {OURS}:{port.internal}\n" in script
    assert "masquerade" not in script, "visitors keep their addresses"


# ---- what wg tells ------------------------------------------------------------------------------

DUMP = (
    "PRIVATE\tPUBLIC\t0\toff\nPEER=\tPSK=\t198.51.100.7:51820\t0.0.0.0/0\t1700000000\t92\t148\t25\n"
)


def test_a_dump_is_understood() -> None:
    assert parse_dump(DUMP) == Look(
        peer="PEER=", endpoint="198.51.100.7:51820", handshake=1_700_000_000, received=92, sent=148
    )
    silent = parse_dump("A\tB\t0\toff\nPEER=\tPSK=\t(none)\t0.0.0.0/0\t0\t0\t0\toff\n")
    assert silent == Look(peer="PEER=", endpoint="", handshake=0, received=0, sent=0)
    assert parse_dump("A\tB\t0\toff\n") is None
    assert parse_dump("") is None


def test_a_status_is_good_only_as_long_as_somebody_looks(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert load_status(paths) is None
    status_file(paths).parent.mkdir(parents=True)
    status = TunnelStatus(at=1000.0, server=SERVER, shaken=900.0)
    save_status(paths, status)
    assert load_status(paths) == status
    assert status.is_alive(1000.0)
    assert not status.is_alive(900.0 + DEAD_SECONDS)
    assert not status.is_alive(1000.0 + SILENT_SECONDS)
    assert not replace(status, shaken=None).is_alive(1000.0)
    status_file(paths).write_text("{")
    assert load_status(paths) is None


# ---- why nobody answers -------------------------------------------------------------------------


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port on which somebody hears and says nothing, as WireGuard does to strangers."""
    monkeypatch.setattr("services.tunnel.diagnose.KNOCK_SECONDS", 0.3)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


def closed_port(kind: socket.SocketKind) -> int:
    with closing(socket.socket(socket.AF_INET, kind)) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_closed_port_is_told_at_once() -> None:
    begin = time.monotonic()
    found = diagnose("127.0.0.1", closed_port(socket.SOCK_DGRAM))
    assert found.cause is Cause.CLOSED
    assert time.monotonic() - begin < 1


def test_a_machine_that_is_there_and_says_nothing(silent: int) -> None:
    refusing = closed_port(socket.SOCK_STREAM)
    found = diagnose("localhost", silent, tcp_ports=(refusing,))
    assert found.cause is Cause.SILENT
    assert found.evidence == (
        "localhost is at 127.0.0.1",
        f"127.0.0.1 says nothing on UDP port {silent}, as WireGuard does to strangers",
        f"127.0.0.1 answers on TCP port {refusing}",
    )


def test_a_machine_that_is_not_there(silent: int) -> None:
    """A full backlog of a listener that never accepts is as good as nobody: no answer comes."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        callers = [socket.socket() for _ in range(2)]
        try:
            for caller in callers:
                caller.setblocking(False)
                caller.connect_ex(("127.0.0.1", port))
            assert knock_tcp("127.0.0.1", (port,)) is None
            found = diagnose("127.0.0.1", silent, tcp_ports=(port,))
        finally:
            for caller in callers:
                caller.close()
    assert found.cause is Cause.NOWHERE


def test_a_name_that_leads_nowhere() -> None:
    found = diagnose("nobody.invalid", 51820)
    assert found.cause is Cause.NAME
    assert "nobody.invalid" in found.evidence[0]


def test_every_cause_has_a_next_step() -> None:
    assert set(EXPLANATIONS) == set(Cause)
    for explanation in EXPLANATIONS.values():
        assert explanation.sentence.endswith(".")
        assert not explanation.next_step.endswith(".")
