"""What an owner pastes on a rented server, and the wizard's check of the tunnel to it.

Real: WireGuard (wireguard-go where the kernel has none), wg-quick, nftables, and the script itself,
typed into a terminal. Simulated: that apt has installed wireguard-tools and nftables over there;
and the rented server has no systemd, which the script notices.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.paths import Paths
from appliance.settings import Secrets, Tunnel
from services.tunnel.keys import make_keys
from services.tunnel.layout import render_script
from world.internet.options import VARIANTS
from world.internet.places import VPS, VPS_NAME
from world.internet.vps import Vps
from world.internet.world import World
from world.tree import REPOSITORY

pytestmark = [pytest.mark.world, pytest.mark.timeout(600)]

TEMPLATES = REPOSITORY / "overlays/base"
ROOT = "/srv/root"
DRAFT = """
revision = 1
server_name = "hearth.duckdns.org"
reach = "public"
provider = "duckdns"
address_for = "hearth.duckdns.org"
way = "tunnel"
tunnel_server = "{server}"
tunnel_port = {port}
[changed]
tunnel_server = 1
"""
# Another administrator's firewall, as ufw or Docker leave it.
FOREIGN = """
table ip filter {
  chain FORWARD { type filter hook forward priority filter; policy drop; }
  chain INPUT { type filter hook input priority filter; policy accept; tcp dport 23 drop; }
}
"""


class Wizard:
    """Page "tunnel" on a machine of the home: its draft, its script, its check."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.root = world.lan.files / "root"
        (self.root / "data/hearth").mkdir(parents=True)
        (self.root / "run").mkdir()
        shutil.copytree(TEMPLATES / "usr/share/hearth", self.root / "usr/share/hearth")
        self.said = ""  # all that was ever shown or logged, but for the script
        self.name_server(VPS)

    def name_server(self, server: str, port: int = 51820) -> None:
        text = DRAFT.format(server=server, port=port)
        (self.root / "data/hearth/draft.toml").write_text(text)

    def script(self) -> str:
        code = (
            f"import sys; from pathlib import Path; from appliance.paths import Paths;"
            f"from firstboot.tunnel_check import draft_script;"
            f"sys.stdout.write(draft_script(Paths(Path({ROOT!r}))))"
        )
        return self.world.lan.run(["python3", "-c", code]).stdout

    def check(self) -> dict[str, Any]:
        return self._result(["python3", "-m", "firstboot", "--root", ROOT, "tunnel-check"])

    def check_with_haste(self, seconds: int) -> dict[str, Any]:
        """As if wg-quick were given up after ``seconds`` instead of a minute."""
        code = (
            "from pathlib import Path; from appliance.paths import Paths;"
            "from firstboot.tunnel_check import check_tunnel; from services.tunnel import device;"
            f"device.UP_SECONDS = {seconds}; check_tunnel(Paths(Path({ROOT!r})))"
        )
        return self._result(["python3", "-c", code])

    def _result(self, argv: list[str]) -> dict[str, Any]:
        done = self.world.lan.run(argv, seconds=180)
        text = (self.root / "data/hearth/results/tunnel-check.json").read_text()
        self.said += done.stdout + done.stderr + text
        return dict(json.loads(text))


@pytest.fixture(scope="module")
def cgnat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("cgnat"), VARIANTS["cgnat"]) as world:
        yield world


@pytest.fixture(scope="module")
def wizard(cgnat: World) -> Wizard:
    return Wizard(cgnat)


@pytest.fixture
def vps(cgnat: World) -> Iterator[Vps]:
    vps = Vps(cgnat)
    yield vps
    vps.power_off()


def any_script(port: int = 51820) -> str:
    tunnel = Tunnel(server=VPS, port=port)
    return render_script(Paths(TEMPLATES), tunnel, make_keys(Secrets()))


def rules(vps: Vps) -> str:
    return vps.host.run(["nft", "list", "ruleset"]).stdout


# ---- the script ---------------------------------------------------------------------------------


def test_the_script_leaves_nothing_of_others_changed(vps: Vps) -> None:
    vps.host.run(["nft", "-f", "-"], input=FOREIGN)
    before = rules(vps)
    shown = vps.paste(any_script())
    assert "done. This server now passes the ports 80 443 8448 on" in shown
    assert "a firewall here lets in only what it knows (nftables: ip filter)" in shown
    assert before in rules(vps)
    assert "table inet hearth" in rules(vps)
    assert vps.host.run(["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "1\n"
    assert (vps.host.etc / "wireguard/hearth.conf").stat().st_mode & 0o077 == 0
    assert "the tunnel is gone" in vps.remove()
    assert rules(vps) == before
    assert vps.host.run(["cat", "/proc/sys/net/ipv4/ip_forward"]).stdout == "0\n"
    left = vps.host.run(
        ["sh", "-c", "ls /root /etc/wireguard; ip link show dev hearth"], check=False
    )
    assert "hearth" not in left.stdout


def test_the_script_may_run_again_and_with_other_keys(wizard: Wizard, vps: Vps) -> None:
    vps.paste(any_script())
    assert wizard.check()["kind"] == "silent", "the keys over there are another tunnel's"
    for _ in range(2):
        vps.paste(wizard.script())
        assert wizard.check()["kind"] == "good"
    assert "It was 0 before" in (vps.host.etc / "sysctl.d/90-hearth.conf").read_text()


@pytest.mark.parametrize("port", [80, 443, 8448])
def test_the_script_takes_no_port_away(vps: Vps, port: int) -> None:
    vps.host.start("web", ["python3", "-m", "http.server", str(port)])
    vps.host.wait_for_port("web", port)
    shown = vps.paste(any_script())
    assert f"port {port} of this server is in use by python3" in shown
    assert "switch that program off" in shown
    assert not (vps.host.etc / "wireguard/hearth.conf").exists()


def test_the_script_takes_no_other_tunnels_port(vps: Vps) -> None:
    vps.host.start("other", ["python3", "-c",
                             "import socket; s = socket.socket(2, 2); s.bind(('', 51820));"
                             "s.recv(9)"])  # fmt: skip
    vps.host.wait_for_port("other", 51820, "udp")
    assert "UDP port 51820 of this server is in use" in vps.paste(any_script())
    assert "done." in vps.paste(any_script(51821))


# ---- the wizard's check -------------------------------------------------------------------------


def test_the_check_tells_what_is_missing(wizard: Wizard, vps: Vps) -> None:
    """From a wrong address to a tunnel that works, with the next step each time."""
    wizard.name_server("198.51.100.99")
    assert wizard.check()["kind"] == "nowhere"
    wizard.name_server("vps.nowhere.example.net")
    assert wizard.check()["kind"] == "name"
    wizard.name_server(VPS_NAME)
    found = wizard.check()
    assert (found["kind"], found["judgement"]) == ("closed", "bad")
    assert "paste the script" in found["next_step"]
    assert f"{VPS_NAME} is at {VPS}" in found["evidence"]
    vps.paste(wizard.script())
    found = wizard.check()
    assert (found["kind"], found["judgement"]) == ("good", "good"), found
    vps.host.run(["nft", "add table ip cloud; add chain ip cloud in { type filter hook input "
                  "priority 0; }; add rule ip cloud in udp dport 51820 drop"])  # fmt: skip
    found = wizard.check()
    assert found["kind"] == "silent"
    assert "lets in UDP" in found["next_step"]
    wizard.name_server(VPS)


def test_the_check_leaves_nothing_behind(wizard: Wizard, vps: Vps) -> None:
    lan = wizard.world.lan
    show = ["sh", "-c", "ip link; ip rule; ip route show table all; nft list ruleset"]
    before = lan.run(show).stdout
    vps.paste(wizard.script())
    assert wizard.check()["kind"] == "good"
    assert lan.run(show).stdout == before


def test_a_check_that_takes_too_long_leaves_nothing_behind(wizard: Wizard, vps: Vps) -> None:
    """A silent name server: wg asks it again and again, and wg-quick is killed while it waits."""
    lan = wizard.world.lan
    show = ["sh", "-c", "ip link; ip rule; ip route show table all"]
    before = lan.run(show).stdout
    lan.run(["nft", "add table ip deaf; add chain ip deaf out { type filter hook output "
             "priority 0; }; add rule ip deaf out udp dport 53 drop"])  # fmt: skip
    wizard.name_server(VPS_NAME)
    try:
        found = wizard.check_with_haste(3)
        assert lan.run(show).stdout == before, wizard.said
    finally:
        lan.run(["nft", "delete", "table", "ip", "deaf"])
        wizard.name_server(VPS)
    assert found["kind"] == "name", found


def test_without_a_line_the_check_says_so(wizard: Wizard, vps: Vps) -> None:
    gateway = wizard.world.lan.run(["ip", "route", "show", "default"]).stdout.strip()
    wizard.world.lan.run(["ip", "route", "delete", "default"])
    try:
        assert wizard.check()["kind"] == "offline"
    finally:
        wizard.world.lan.run(["ip", "route", "add", *gateway.split()])


def test_no_secret_is_shown_but_in_the_script(wizard: Wizard, vps: Vps) -> None:
    """In nothing that the checks said or left: where it works, and where wg-quick fails."""
    script = wizard.script()
    secrets = (wizard.root / "data/hearth/secrets.toml").read_text()
    keys = [line.split('"')[1] for line in secrets.splitlines() if line.startswith("tunnel_")]
    assert len(keys) == 4
    private = [key for key in keys if key in script]
    assert len(private) == 2, "the server's private key and the preshared one"
    assert wizard.check()["kind"] == "closed"
    vps.paste(script)
    assert wizard.check()["kind"] == "good"
    wizard.name_server("vps.nowhere.example.net")
    assert wizard.check()["kind"] == "name"
    wizard.name_server(VPS)
    assert "wg-quick failed" in wizard.said, "with all that it showed"
    assert not [key for key in keys if key in wizard.said]
