"""Which networks count as home, and the rules made of that; the world tier lets nft read them."""

from __future__ import annotations

from pathlib import Path

from services.redirect import home_networks, render_rules

STATIC = Path(__file__).parents[3] / "overlays/base/usr/share/hearth/strangers.nft"
# As Linux shows it: an on-link prefix, a route behind the router, loopback, multicast, the default.
ROUTES = """\
20010db8000100020000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
20010db8000100030000000000000000 40 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000004 00000000 80200001       lo
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
"""  # noqa: E501


def test_only_networks_without_a_router_between_are_home() -> None:
    assert home_networks(ROUTES) == ("2001:db8:1:2::/64", "fc00::/7", "fe80::/10")
    assert home_networks("") == ("fc00::/7", "fe80::/10")


def test_a_line_that_is_none_makes_nobody_a_neighbour() -> None:
    assert home_networks("nonsense\n\n" + ROUTES.replace("eth0", "lo")) == (
        "fc00::/7", "fe80::/10")  # fmt: skip


def test_a_default_route_without_a_router_does_not_make_the_world_our_home() -> None:
    line = ROUTES.splitlines()[3].replace("00000003", "00000001")
    assert home_networks(line) == ("fc00::/7", "fe80::/10")


def test_rules_replace_our_table_and_touch_no_other() -> None:
    for is_served in (True, False):
        rules = render_rules(("fe80::/10", "2001:db8::/64"), is_served=is_served)
        assert rules.startswith("table ip6 hearth_public {}\ndelete table ip6 hearth_public\n")
        assert "ip6 saddr { fe80::/10, 2001:db8::/64 } accept" in rules
        assert rules.count("table") == 3
        assert ("80 : 8080" in rules) is ("443 : 8443" in rules) is is_served
        assert ("tcp dport { 8448 } accept" in rules) is is_served


def test_the_rules_of_the_first_second_are_the_strictest() -> None:
    assert STATIC.read_text() == "#!/usr/sbin/nft -f\n" + render_rules(
        ("fe80::/10", "fc00::/7"), is_served=False
    )
