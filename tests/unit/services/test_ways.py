"""What each way in needs: ports, where the name leads, and how it is proved to an authority."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import NetworkError
from appliance.paths import Paths
from appliance.settings import Ddns, Public, Tunnel, Way
from services.address import Finding, Reachability
from services.names import PublicNames
from services.portmap.causes import Cause
from services.portmap.contract import Held, Problem, State
from services.portmap.mapper import HTTPS, PINHOLES, PORTS, Port
from services.portmap.place import Place
from services.reach import PORTMAP, AddressResult, PortmapResult
from services.results import save_result
from services.wan import RESULT, WanAddresses
from services.ways import (
    can_prove_by_dns,
    choose_challenge,
    published,
    resolve,
    wanted_pinholes,
    wanted_ports,
)
from unit.services.appliance_files import make_appliance

NAME = "hearth.duckdns.org"
NAMES = PublicNames(server=NAME, homeserver=f"matrix.{NAME}", client=f"chat.{NAME}")
DUCK = Ddns(provider="duckdns", name=NAME)
PLACE = Place(lan="192.168.1.20", gateway="192.168.1.1")
OPEN = Finding(verdict=Reachability.OPEN, sentence="", next_step="", evidence=())


def hold(*ports: Port) -> State:
    return State(held=tuple(Held(port=port, lease=3600, renewed=0.0) for port in ports))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = make_appliance(tmp_path)
    wan = WanAddresses(ipv4="192.0.2.1", ipv6="2001:db8::1")
    found = AddressResult(finding=OPEN, wan=wan, asked=0.0, router_wan="192.0.2.1")
    save_result(paths, RESULT, found)
    return paths


def test_what_is_opened() -> None:
    assert wanted_ports(Public()) == PORTS
    assert wanted_pinholes(Public()) == PINHOLES
    assert wanted_ports(Public(way=Way.IPV6)) == ()
    assert wanted_pinholes(Public(way=Way.IPV6)) == PINHOLES
    other = Public(way=Way.PORT, port=4443)
    assert wanted_ports(other) == (Port(external=4443, internal=8443),)
    assert wanted_ports(Public(way=Way.PORT, port=8448)) == (Port(external=8448, internal=8448),)
    assert wanted_pinholes(other) == ()
    for way in (Way.TUNNEL, Way.HOME):
        assert wanted_ports(Public(way=way)) == wanted_pinholes(Public(way=way)) == ()


def test_no_way_leads_to_the_pages() -> None:
    """The pages listen on 80 and 443: for IPv4 never, for IPv6 only behind the redirect."""
    for way in Way:
        assert all(one.internal in (8080, 8443, 8448) for one in wanted_ports(Public(way=way)))


def test_where_the_name_leads(paths: Paths) -> None:
    assert published(paths, Public(way=Way.IPV6), PLACE) == WanAddresses(ipv6="2001:db8::1")
    assert published(paths, Public(way=Way.HOME), PLACE) == WanAddresses(ipv4="192.168.1.20")
    assert published(paths, Public(way=Way.PORT), PLACE) == WanAddresses(ipv4="192.0.2.1")
    tunnel = Public(way=Way.TUNNEL, tunnel=Tunnel(server="198.51.100.7"))
    assert published(paths, tunnel, PLACE) == WanAddresses(ipv4="198.51.100.7")
    tunnel = Public(way=Way.TUNNEL, tunnel=Tunnel(server="2001:db8::7"))
    assert published(paths, tunnel, PLACE) == WanAddresses(), "only IPv4 is handed on"


def test_ipv6_is_published_beside_ipv4_only_when_it_is_let_in(paths: Paths) -> None:
    assert published(paths, Public(), PLACE) == WanAddresses(ipv4="192.0.2.1")
    save_result(paths, PORTMAP, PortmapResult(pinholes=hold(PINHOLES[0])))
    assert published(paths, Public(), PLACE).ipv6 is None
    save_result(paths, PORTMAP, PortmapResult(pinholes=hold(*PINHOLES)))
    assert published(paths, Public(), PLACE).ipv6 == "2001:db8::1"


def test_a_machine_that_is_not_found_is_named() -> None:
    with pytest.raises(NetworkError, match=r"vps\.invalid"):
        resolve("vps.invalid")
    with pytest.raises(NetworkError):
        resolve("x" * 70 + ".example")


def test_dns_proof_needs_every_name_within_our_account() -> None:
    assert can_prove_by_dns(Public(ddns=DUCK, sub_names=True), NAMES)
    assert not can_prove_by_dns(Public(), NAMES)
    assert not can_prove_by_dns(Public(ddns=Ddns(provider="noip", name=NAME)), NAMES)
    foreign = Ddns(provider="duckdns", name="other.duckdns.org")
    assert not can_prove_by_dns(Public(ddns=foreign), NAMES)
    lookalike = PublicNames(server=f"x{NAME}", homeserver=f"x{NAME}")
    assert not can_prove_by_dns(Public(ddns=DUCK), lookalike)


def test_http_where_port_80_leads_here_and_dns_where_it_does_not(paths: Paths) -> None:
    public = Public(ddns=DUCK, sub_names=True)
    assert choose_challenge(paths, public, NAMES, "") == "http-01"
    save_result(paths, PORTMAP, PortmapResult(ports=hold(*PORTS)))
    assert choose_challenge(paths, public, NAMES, "") == "http-01"
    taken = Problem(port=PORTS[0], cause=Cause.CONFLICT)
    state = State(held=hold(HTTPS).held, problems=(taken,))
    save_result(paths, PORTMAP, PortmapResult(ports=state))
    assert choose_challenge(paths, public, NAMES, "http-01") == "dns-01"


def test_a_moody_router_does_not_change_the_proof_again(paths: Paths) -> None:
    save_result(paths, PORTMAP, PortmapResult(ports=hold(*PORTS)))
    assert choose_challenge(paths, Public(ddns=DUCK), NAMES, "dns-01") == "dns-01"


def test_ways_without_port_80_are_proved_by_dns(paths: Paths) -> None:
    for way in (Way.PORT, Way.HOME, Way.TUNNEL):
        assert choose_challenge(paths, Public(way=way, ddns=DUCK), NAMES, "") == "dns-01"
    ipv6 = Public(way=Way.IPV6, ddns=DUCK)
    assert choose_challenge(paths, ipv6, NAMES, "") == "http-01"
