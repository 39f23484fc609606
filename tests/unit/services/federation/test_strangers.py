"""What other servers may have us connect to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.settings import Public, Reach, load_settings
from firstboot.federation import foreign_eyes
from firstboot.wakeup import make_world
from services.federation.neighbours import Neighbour
from services.federation.sign import make_signing_key
from services.federation.strangers import home_networks4, strangers_only
from services.federation.wake import Outcome, prepare_calls, wake
from unit.services.appliance_files import SERVER_NAME, make_appliance
from unit.services.federation.bench import Bench, page
from unit.services.federation.test_wake import PATH

NAME = "example.org"
# Of machines whose home networks are 2001:db8:1:2::/64 and 198.51.100.0/24.
ROUTES = """\
20010db8000100020000000000000000 40 00000000000000000000000000000000 00 \
00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
"""
ROUTES4 = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	016433C6	0003	0	0	0	00000000	0	0	0
eth0	006433C6	00000000	0001	0	0	0	00FFFFFF	0	0	0
ppp0	00000000	00000000	0001	0	0	0	00000000	0	0	0
eth0	0000A8C0	016433C6	0003	0	0	0	0000FFFF	0	0	0
nonsense
"""
AT_HOME = ["2001:db8:1:2::1", "198.51.100.9", "203.0.113.7", "2001:db8:9::7", "192.168.1.1",
           "fe80::1", "127.0.0.1", "::ffff:203.0.113.8", "2001:DB8:1:2:0::1"]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    paths = make_appliance(tmp_path, reach=Reach.PUBLIC)
    paths.results.mkdir()
    wan = {"wan": {"ipv4": "203.0.113.7", "ipv6": "2001:db8:9::7"}}
    (paths.results / "address.json").write_text(json.dumps(wan))
    (tmp_path / "route").write_text(ROUTES4)
    (tmp_path / "ipv6_route").write_text(ROUTES)
    return tmp_path


def gate(home: Path) -> Callable[[str], bool]:
    return strangers_only(Paths(home), routes=home / "ipv6_route", routes4=home / "route")


def test_the_kernels_table() -> None:
    assert home_networks4(ROUTES4) == ("198.51.100.0/255.255.255.0",)
    assert home_networks4("") == ()


@pytest.mark.parametrize("address", AT_HOME)
def test_no_server_leads_us_into_our_own_home(home: Path, bench: Bench, address: str) -> None:
    """By an AAAA record: the router's pages would get a request from root."""
    assert not gate(home)(address)
    bench.name(NAME, address, kind="AAAA" if ":" in address else "A")
    site = bench.serve((address, 8448), (address, 443), names=[NAME])
    site.pages[PATH] = page({})
    key = make_signing_key("ed25519:1", b"\x07" * 32)
    [call] = prepare_calls(key, "home.org", [Neighbour(server=NAME, member=f"@a:{NAME}")])
    web = replace(bench.web, may_dial=gate(home))
    assert wake(web, bench.lookup, call) is Outcome.SILENT
    assert not bench.dialled


@pytest.mark.parametrize("address", ["203.0.113.8", "2001:db8:1:3::1", "2001:db8:9::8"])
def test_everybody_else_is_outside(home: Path, address: str) -> None:
    assert gate(home)(address)


def test_only_what_is_about_ourselves_may_look_at_ourselves(home: Path) -> None:
    paths = Paths(home)
    settings = load_settings(paths.settings)
    assert settings is not None
    public = replace(settings, public=Public(sub_names=True))
    assert not make_world(paths).web.may_dial("203.0.113.7")
    assert not foreign_eyes(paths, public, NAME).world.may_dial("203.0.113.7")
    for own in (SERVER_NAME, f"matrix.{SERVER_NAME}", f"matrix.{SERVER_NAME}:443"):
        assert foreign_eyes(paths, public, own).world.may_dial("203.0.113.7")
