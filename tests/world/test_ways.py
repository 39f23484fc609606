"""The other ways in, each behind the router that asks for it, and what keeps a certificate away.

An appliance that is set up for the home network chooses a way and runs its jobs, as the timers
would. Real: bind9, a DDNS endpoint with DuckDNS's contract, miniupnpd, nftables, pebble under Let's
Encrypt's names. The homeserver does not run: nginx answers what is asked here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.deadline import wait_until
from appliance.run import run
from world.appliance import answer_wizard, boot, load_state, wait_for_setup
from world.internet.ddns_endpoints import SECRET
from world.internet.host import Host
from world.internet.options import VARIANTS
from world.internet.places import (
    KEYS,
    LINE_ADDRESS,
    NAMESERVER,
    OUTSIDER,
    OWNER_KEY,
    REFUSED_NAME,
    ROUTER,
    ipv6_of,
)
from world.internet.trust import install_roots
from world.internet.world import World
from world.sandbox import Sandbox
from world.tree import ensure_tree

pytestmark = [pytest.mark.world, pytest.mark.timeout(600)]

NAME = "hearth.duckdns.org"
NAMES = [NAME, f"matrix.{NAME}", f"chat.{NAME}"]
ADDRESS = "192.0.2.50"
DUCK = f'Ddns(provider="duckdns", name="{NAME}")'
CHOOSE = """
from dataclasses import replace
from appliance.paths import Paths
from appliance.settings import *
paths = Paths()
settings = load_settings(paths.settings)
server = replace(settings.server, name={name!r}, reach=Reach.PUBLIC)
save_toml(replace(settings, server=server, public={public}), paths.settings, mode=0o640)
save_toml(replace(load_secrets(paths.secrets), ddns_secret={secret!r}), paths.secrets, mode=0o600)
"""


@dataclass
class Home:
    """An appliance in the home of a world."""

    world: World
    hearth: Sandbox

    def choose(self, public: str, *, name: str = NAME, secret: str = SECRET) -> None:
        self.hearth.python(CHOOSE.format(name=name, public=public, secret=secret))
        self.hearth.hearthctl("apply")

    def run(self, verb: str) -> int:
        """A job, as its timer would start it."""
        return self.hearth.hearthctl(verb, check=False).returncode

    def must(self, *verbs: str) -> None:
        for verb in verbs:
            done = self.hearth.hearthctl(verb, check=False)
            assert done.returncode == 0, f"{verb}:\n{done.stdout}{done.stderr}"

    def rehearse(self, *names: str) -> None:
        """As if it had passed: after it, a second proof by DNS has to wait for over a minute."""
        state = {"names": names, "method": "dns-01", "rehearsed": True}
        results = self.hearth.data / "hearth/results"
        results.mkdir(exist_ok=True)
        (results / "acme.json").write_text(json.dumps(state))

    def result(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.hearth.data / f"hearth/results/{name}.json").read_text()))

    def records(self, kind: str) -> list[str]:
        """As the name server itself answers, so that no cache stands between."""
        argv = ["dig", f"@{NAMESERVER}", "+short", NAME, kind]
        return self.world.wan.host.run(argv).stdout.split()

    def reach(self, url: str, *options: str) -> str:
        """What somebody far away gets, with the world's trust; empty when nothing comes."""
        argv = ["curl", "-sS", "--fail", "--max-time", "10", *options, url]
        return self.world.wan.host.run(argv, check=False, seconds=30).stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data partition of an appliance that has been set up for its home."""
    with Sandbox(ensure_tree(), tmp_path_factory.mktemp("first")) as sandbox:
        answer_wizard(sandbox, "dendrite")
        boot(sandbox)
        state = wait_for_setup(sandbox)
        assert state["phase"] == "ready", json.dumps(load_state(sandbox), indent=1)
        copy = tmp_path_factory.mktemp("copy") / "data"
        for unit in ("hearth-dendrite.service", "hearth-postgresql.service"):
            sandbox.run(["systemctl", "stop", unit])
        run(["cp", "--archive", sandbox.data, copy])
        return copy


@contextmanager
def plugged(variant: str, data: Path, tmp_path: Path) -> Iterator[Home]:
    state = tmp_path / "hearth"
    state.mkdir()
    run(["cp", "--archive", data, state / "data"])
    with (
        World(tmp_path / "world", VARIANTS[variant]) as world,
        Sandbox(ensure_tree(), state, alone=False) as hearth,
    ):
        world.plug_in(hearth)
        hearth.batch_ip(f"address add {ADDRESS}/24 dev eth0\nroute add default via {ROUTER}")
        learnt = f"mkdir -p /run/systemd/netif; echo DNS={ROUTER} > /run/systemd/netif/state"
        hearth.run(["sh", "-c", learnt])
        install_roots(hearth, world.wan.roots)
        install_roots(world.wan.host, world.wan.roots)
        hearth.run(["sh", "-c", "mkdir -p /run/systemd/timesync; "
                                "touch /run/systemd/timesync/synchronized"])  # fmt: skip
        for unit in ("nginx.service", "hearth-agent.service", "hearth-apply.service"):
            hearth.run(["systemctl", "start", unit])
        yield Home(world, hearth)


def test_where_port_80_is_taken_the_name_is_proved_by_dns(data: Path, tmp_path: Path) -> None:
    """443 alone: the router's own pages are at its port 80, as on many."""
    with plugged("router-has-80", data, tmp_path) as home:
        home.choose(f"Public(ddns={DUCK}, sub_names=True)")
        home.must("portmap", "ddns", "acme")
        found = home.result("acme")
        assert (found["method"], found["certified"]) == ("dns-01", NAMES)
        delegation = json.loads(home.reach(f"https://{NAME}/.well-known/matrix/server"))
        assert delegation == {"m.server": f"matrix.{NAME}:443"}
        assert home.records("TXT") == [], "the proof is taken back"


def test_at_home_only_with_a_certificate_that_every_phone_trusts(
    data: Path, tmp_path: Path
) -> None:
    """Behind a carrier's NAT nothing gets in; the name leads home, and is proved by DNS."""
    with plugged("cgnat", data, tmp_path) as home:
        home.choose(f"Public(way=Way.HOME, ddns={DUCK}, sub_names=True)")
        home.rehearse(*NAMES)
        home.must("portmap", "ddns", "acme")
        assert home.records("A") == [ADDRESS]
        assert home.result("acme")["method"] == "dns-01"
        url = f"https://matrix.{NAME}/.well-known/matrix/client"
        answer = json.loads(home.world.lan.run(["curl", "-sS", "--fail", url]).stdout)
        assert answer["m.homeserver"]["base_url"] == f"https://matrix.{NAME}"
        assert home.reach(url) == ""
        assert home.world.router is not None
        assert "dnat" not in home.world.router.mappings()


def test_another_port_where_the_router_keeps_the_low_ones(data: Path, tmp_path: Path) -> None:
    with plugged("no-low-ports", data, tmp_path) as home:
        home.choose(f"Public(way=Way.PORT, port=8448, ddns={DUCK})")
        home.rehearse(NAME)
        home.must("portmap", "ddns", "acme")
        assert home.records("A") == [LINE_ADDRESS]
        url = f"https://{NAME}:8448/.well-known/matrix"
        client = json.loads(home.reach(f"{url}/client"))
        assert client["m.homeserver"]["base_url"] == f"https://{NAME}:8448"
        assert json.loads(home.reach(f"{url}/server")) == {"m.server": f"{NAME}:8448"}
        assert home.reach(f"https://{NAME}/.well-known/matrix/server") == ""
        # Another port is chosen: what was opened before is given back.
        done = home.hearth.hearthctl("way", "port", "--port", "4443", check=False)
        assert "asking your router" in done.stderr.lower(), done.stdout + done.stderr
        assert home.reach(f"https://{NAME}:4443/.well-known/matrix/server")
        assert home.reach(f"https://{NAME}:8448/.well-known/matrix/server") == ""


def test_by_ipv6_alone(data: Path, tmp_path: Path) -> None:
    """The pinholes are for 80 and 443, where the pages listen: strangers get something else."""
    with plugged("ipv6-firewall", data, tmp_path) as home:
        code = "from services.portmap.place import find_place; print(find_place().ipv6)"
        address = wait_until(lambda: home.hearth.python(code).strip(), seconds=20,
                             what="an IPv6 address")  # fmt: skip
        home.choose(f"Public(way=Way.IPV6, ddns={DUCK}, sub_names=True)")
        home.must("portmap", "ddns", "acme")
        assert (home.records("A"), home.records("AAAA")) == ([], [address])
        assert home.result("acme")["method"] == "http-01"
        far = ("--interface", ipv6_of(OUTSIDER))
        assert home.reach(f"https://{NAME}/.well-known/matrix/server", *far)
        for path in ("", "setup/you", "_synapse/admin/v1/users"):
            for url in (f"https://{NAME}/{path}", f"https://[{address}]/{path}"):
                assert home.reach(url, "-k", *far) == "", url
        # A neighbour gets the pages there.
        assert "Hearth" in home.world.lan.run(["curl", "-skL", f"https://[{address}]/"]).stdout


PAGES = ("", "claim", "sign-in", "setup/you", "matrix.mobileconfig", "_synapse/admin/v1/users")


def test_where_the_router_rewrites_sources_no_page_is_reached(data: Path, tmp_path: Path) -> None:
    """Everybody out there looks like the router, which is a neighbour: the address tells nothing.

    By address and by each name, with and without TLS, at every port that the router has opened.
    """
    with plugged("rewrites-source", data, tmp_path) as home:
        home.choose(f"Public(ddns={DUCK}, sub_names=True)")
        home.must("portmap", "ddns", "acme")
        assert home.reach(f"https://{NAME}/.well-known/matrix/server"), "the way in is open"
        to_router = ("--connect-to", f"::{LINE_ADDRESS}:")
        for host in (LINE_ADDRESS, ADDRESS, "hearth.local", *NAMES):
            for base in (f"http://{host}", f"https://{host}", f"https://{host}:8448"):
                for path in PAGES:
                    found = status(home.world.wan.host, f"{base}/{path}", *to_router)
                    # 301 leads from HTTP to HTTPS; 000 is no answer, as to a name that is not ours.
                    assert found in ("404", "000", "301"), f"{base}/{path}: {found}"
        # The same paths are pages for a neighbour, so that it is not their absence that was seen.
        for path in ("claim", "_synapse/admin/v1/users"):
            assert status(home.world.lan, f"https://{ADDRESS}/{path}") not in ("404", "000"), path
        assert rewritten_source(home) == ROUTER


def status(host: Host, url: str, *options: str) -> str:
    """The answer's number; 000 without an answer."""
    argv = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", *options]
    return host.run([*argv, url], check=False, seconds=30).stdout


def rewritten_source(home: Home) -> str:
    """As whom the kernel sees a caller from far away on the way in."""
    url = f"https://{NAME}/.well-known/matrix/server"
    home.hearth.run(["nft", "-f", "-"], input="""
        table ip seen {
            set callers { type ipv4_addr; flags dynamic; }
            chain in {
                type filter hook input priority -10;
                tcp dport 8443 add @callers { ip saddr }
            }
        }
    """)  # fmt: skip
    assert home.reach(url)
    listed = json.loads(home.hearth.run(["nft", "--json", "list", "set", "ip", "seen", "callers"])
                        .stdout)  # fmt: skip
    [callers] = [one["set"]["elem"] for one in listed["nftables"] if "set" in one]
    [caller] = callers
    return str(caller)


def test_a_router_that_lies_is_found_out_by_the_challenge(data: Path, tmp_path: Path) -> None:
    with plugged("lying", data, tmp_path) as home:
        home.choose(f"Public(ddns={DUCK}, sub_names=True)")
        assert home.run("portmap") == 0, "it says that all is well"
        assert home.run("ddns") == 0
        assert home.run("acme") == 1
        found = home.result("acme")
        assert "port 80" in found["error"] + found["hint"], found
        assert found["failures"] == 1
        assert not found["issues"]
        # A second run within the pause asks nobody.
        assert home.run("acme") == 1
        assert home.result("acme") == found
        home.hearth.run(["nginx", "-t"])


def test_a_refusal_waits_for_the_owner_and_the_old_certificate_serves(
    data: Path, tmp_path: Path
) -> None:
    with plugged("plain", data, tmp_path) as home:
        home.choose(f"Public(ddns={DUCK})")
        home.must("portmap", "ddns", "acme")
        owner = 'Ddns(provider="rfc2136", name="refused.example.org", username="owner", ' \
                f'endpoint="{NAMESERVER}")'  # fmt: skip
        home.choose(f"Public(ddns={owner})", name=REFUSED_NAME, secret=KEYS[OWNER_KEY])
        home.must("portmap", "ddns")
        assert home.run("acme") == 1
        found = home.result("acme")
        assert found["stop"] == "rejectedIdentifier"
        assert found["hint"]
        assert found["certified"] == [NAME], "the file is still the other name's"
        home.choose(f"Public(ddns={DUCK})")
        home.must("acme")
        assert home.reach(f"https://{NAME}/.well-known/matrix/server", "--resolve",
                          f"{NAME}:443:{LINE_ADDRESS}")  # fmt: skip
