from __future__ import annotations

import select
from pathlib import Path

import netifaces
import pytest

from appliance.paths import Paths
from services.filewatch import FileWatch
from services.network import _usable, local_addresses, open_netlink
from services.resolver import render_resolver, update_resolver
from services.tunnel.place import INTERFACE, OURS


def test_addresses_that_others_can_use() -> None:
    assert [str(a) for a in _usable("192.0.2.1")] == ["192.0.2.1"]
    assert [str(a) for a in _usable("2001:db8::1%eth0")] == ["2001:db8::1"]
    for useless in ("127.0.0.1", "::1", "fe80::1%eth0", "", "x"):
        assert _usable(useless) == ()


def test_this_machines_addresses_are_in_order() -> None:
    found = local_addresses()
    assert list(found) == sorted(found, key=lambda text: ":" in text)
    assert "127.0.0.1" not in found


def test_our_end_of_the_tunnel_is_not_told_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """The QR code, hearth.local and the certificate are for addresses that a neighbour reaches.

    What the kernel says is the only thing made up here; tests/world/test_tunnel.py has a real one.
    """
    machine = {
        "lo": {netifaces.AF_INET: [{"addr": "127.0.0.1"}]},
        "end0": {
            netifaces.AF_INET: [{"addr": "192.168.1.7"}],
            netifaces.AF_INET6: [{"addr": "2001:db8::7"}, {"addr": "fe80::7%end0"}],
        },
        INTERFACE: {netifaces.AF_INET: [{"addr": OURS}]},
    }
    monkeypatch.setattr(netifaces, "interfaces", lambda: list(machine))
    monkeypatch.setattr(netifaces, "ifaddresses", machine.__getitem__)
    assert local_addresses() == ("192.168.1.7", "2001:db8::7")


def test_netlink_opens_without_rights_and_is_quiet() -> None:
    with open_netlink() as news:
        assert not select.select([news], [], [], 0)[0]


def test_a_replaced_file_is_news(tmp_path: Path) -> None:
    watch = FileWatch(tmp_path)
    assert not select.select([watch], [], [], 0)[0]
    (tmp_path / "new").write_text("x")
    (tmp_path / "new").replace(tmp_path / "state.json")
    assert select.select([watch], [], [], 5)[0]
    watch.drain()
    assert not select.select([watch], [], [], 0)[0]
    watch.close()


def test_name_servers_from_networkd() -> None:
    state = (
        "# comment\nDNS=192.0.2.1 2001:db8::53 192.0.2.2#dns.example 192.0.2.3\n"
        "DOMAINS=lan fritz.box\n"
    )
    assert render_resolver(state).splitlines()[1:] == [
        "nameserver 192.0.2.1",
        "nameserver 2001:db8::53",
        "nameserver 192.0.2.2",
        "search lan fritz.box",
    ]


def test_the_resolver_file_follows_the_network(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.runtime.mkdir(parents=True)
    assert update_resolver(paths)
    assert not update_resolver(paths)
    state = tmp_path / "run/systemd/netif/state"
    state.parent.mkdir(parents=True)
    state.write_text("DNS=192.0.2.1\n")
    assert update_resolver(paths)
    assert "nameserver 192.0.2.1\n" in (paths.runtime / "resolv.conf").read_text()
