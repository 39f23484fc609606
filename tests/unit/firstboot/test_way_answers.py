"""Which ways in are offered for what was measured, and what a choice is judged by."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.answers import CheckState, Measured
from appliance.errors import FieldError
from appliance.settings import Public, Reach, Way
from firstboot.stored import StoredDraft, public_settings
from firstboot.way_answers import judge_way, offer_ways
from services.address import Finding, Reachability
from services.reach import AddressResult
from services.results import save_result
from services.wan import RESULT, WanAddresses
from unit.services.appliance_files import make_appliance

NAME = "myhome.duckdns.org"
DRAFT = StoredDraft(
    server_name=NAME, reach=Reach.PUBLIC, provider="duckdns", ddns_name=NAME, address_for=NAME
)

PUBLIC = public_settings(DRAFT) or Public()


def offers(tmp_path: Path, verdict: Reachability, *, ipv6: str | None = None) -> dict[Way, str]:
    paths = make_appliance(tmp_path)
    finding = Finding(verdict=verdict, sentence="", next_step="", evidence=())
    wan = WanAddresses(ipv6=ipv6)
    result = AddressResult(finding=finding, wan=wan, asked=0.0, router_wan="")
    save_result(paths, RESULT, result)
    network = Measured(state=CheckState.DONE, kind=verdict.value)
    found = offer_ways(paths, PUBLIC, NAME, network)
    assert [one.is_recommended for one in found] == [True, False, False, False, False]
    return {one.way: one.obstacle for one in found}


@pytest.mark.parametrize(("verdict", "best"), [
    (Reachability.OPEN, Way.PORTS), (Reachability.NO_IGD, Way.PORTS),
    (Reachability.OFFLINE, Way.PORTS), (Reachability.CGNAT, Way.TUNNEL),
    (Reachability.DOUBLE_NAT, Way.TUNNEL), (Reachability.IPV6_ONLY, Way.IPV6),
])  # fmt: skip
def test_the_best_way_comes_first(tmp_path: Path, verdict: Reachability, best: Way) -> None:
    assert next(iter(offers(tmp_path, verdict))) is best


def test_no_way_promises_what_the_line_does_not_let_in(tmp_path: Path) -> None:
    network = Measured(state=CheckState.DONE, kind="cgnat")
    found = {
        one.way: one.caution for one in offer_ways(make_appliance(tmp_path), PUBLIC, NAME, network)
    }
    assert "until your provider gives you a public IPv4" in found[Way.PORTS]
    assert found[Way.PORT] == found[Way.PORTS]
    assert not any(found[way] for way in (Way.TUNNEL, Way.IPV6, Way.HOME))


def test_ipv6_needs_an_address_of_that_kind(tmp_path: Path) -> None:
    assert "no IPv6 address" in offers(tmp_path / "a", Reachability.CGNAT)[Way.IPV6]
    found = offers(tmp_path / "b", Reachability.CGNAT, ipv6="2001:db8::1")
    assert not any(found.values())


def test_what_was_not_measured_stands_in_nobodys_way(tmp_path: Path) -> None:
    found = offer_ways(make_appliance(tmp_path), PUBLIC, NAME, Measured())
    assert found[0].way is Way.PORTS
    assert not any(one.obstacle for one in found)


@pytest.mark.parametrize("provider", ["none", "noip", "namecheap"])
@pytest.mark.parametrize("way", [Way.PORT, Way.HOME])
def test_without_txt_records_there_is_no_certificate_for_these(provider: str, way: Way) -> None:
    draft = StoredDraft(
        server_name=NAME, reach=Reach.PUBLIC, provider=provider, ddns_name=NAME, address_for=NAME
    )
    with pytest.raises(FieldError, match="TXT record") as caught:
        judge_way(public_settings(draft), NAME, way, 8448)
    assert caught.value.field == "way"


def test_a_name_outside_the_providers_account_cannot_be_proved_by_it() -> None:
    draft = StoredDraft(
        server_name="home.example.org", reach=Reach.PUBLIC, provider="duckdns", ddns_name=NAME
    )
    with pytest.raises(FieldError, match="TXT record"):
        judge_way(public_settings(draft), "home.example.org", Way.HOME, 0)


def test_only_another_port_has_a_port_of_its_own() -> None:
    public = public_settings(DRAFT)
    assert judge_way(public, NAME, Way.PORTS, 8448) == 443
    assert judge_way(public, NAME, Way.PORT, 8448) == 8448
    for port in (-1, 0, 80, 443, 65536):
        with pytest.raises(FieldError) as caught:
            judge_way(public, NAME, Way.PORT, port)
        assert caught.value.field == "port"
