"""What each way in needs: ports, where the name leads, and how it is proved to an authority."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.errors import NetworkError
from appliance.paths import Paths
from appliance.settings import Ddns, Public, Secrets, Tunnel, Way
from services.address import Finding, Reachability
from services.names import PublicNames
from services.portmap.causes import Cause
from services.portmap.contract import Held, Problem, State
from services.portmap.mapper import HTTPS, PINHOLES, PORTS, Port
from services.portmap.place import Place
from services.reach import PORTMAP, AddressResult, PortmapResult
from services.redirect import ALWAYS_HOME, render_rules
from services.render import render_templates
from services.results import save_result
from services.tunnel.keys import make_keys
from services.tunnel.layout import TEMPLATES, render_script, values_of
from services.wan import RESULT, WanAddresses
from services.ways import (
    can_prove_by_dns,
    choose_challenge,
    is_served,
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


OVERLAY = Paths(Path(__file__).resolve().parents[3] / "overlays/base")
LISTENERS = {8080, 8443, 8448}  # of nginx's public.conf


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("port", [443, 4443, 8080, 8448])
def test_no_way_leads_to_the_pages(way: Way, port: int) -> None:
    """The pages listen on 80 and 443: IPv4 never leads there, IPv6 only through our own rules."""
    public = Public(way=way, port=port if way is Way.PORT else 443)
    ports, pinholes = wanted_ports(public), wanted_pinholes(public)
    opened = {Way.PORTS: LISTENERS, Way.PORT: {8448 if port == 8448 else 8443}}
    assert {one.internal for one in ports} == opened.get(way, set())
    assert bool(pinholes) is is_served(public) is (way in (Way.PORTS, Way.IPV6))
    # A pinhole keeps the number: what is not led away ends at the port itself.
    rules = render_rules(ALWAYS_HOME, is_served=is_served(public))
    led = dict(re.findall(r"(\d+) : (\d+)", rules))
    ends = {int(led.get(str(one.internal), one.internal)) for one in pinholes}
    assert ends == (LISTENERS if pinholes else set())
    # What is let in without being led is one of the listeners as well.
    let_in = [int(one) for one in re.findall(r"tcp dport \{ (\d+) \} accept", rules)]
    assert let_in == ([8448] if pinholes else [])


def test_a_tunnel_leads_to_the_public_listeners_alone() -> None:
    """By the rented server's rules, and by our own where those are somebody else's by now."""
    tunnel, secrets = Tunnel(server="198.51.100.7"), make_keys(Secrets())
    script = render_script(OVERLAY, tunnel, secrets)
    handed_on = re.findall(r"dnat ip to \S+:(\d+)", script)
    assert {int(one) for one in handed_on} == LISTENERS
    [template] = [one for one in TEMPLATES if one.target.endswith(".nft")]
    guard = render_templates(OVERLAY, (template,), values_of(tunnel, secrets))[0].text
    let_in = re.findall(r"tcp dport \{ ([\d, ]+) \} accept", guard)
    assert [{int(one) for one in ports.split(",")} for ports in let_in] == [LISTENERS]


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
