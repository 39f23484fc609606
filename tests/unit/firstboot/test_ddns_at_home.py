"""A name that leads to the home network: told to the provider, and looked up at home as well."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.errors import NetworkError
from appliance.settings import Way, load_settings, save_toml
from firstboot.ddns import World, follow_address
from services.ddns.result import DdnsResult
from services.portmap.place import Place
from services.wan import WanAddresses
from unit.firstboot.test_ddns import House, house
from unit.services.appliance_files import SERVER_NAME

__all__ = ["house"]

PLACE = Place(lan="192.168.1.7", gateway="192.168.1.1")
HIDDEN = WanAddresses()


# Its provider must have TXT records, or there is no certificate for such a name.
pytestmark = pytest.mark.parametrize("house", ["cloudflare"], indirect=True)


def stay_at_home(house: House) -> None:
    house.ledger.takes_private = True
    settings = load_settings(house.paths.settings)
    assert settings is not None
    assert settings.public is not None
    public = replace(settings.public, way=Way.HOME)
    save_toml(replace(settings, public=public), house.paths.settings, mode=0o640)


def run(house: House, seen: WanAddresses | None) -> DdnsResult:
    def at_home(name: str) -> WanAddresses:
        assert name == SERVER_NAME
        if seen is None:
            raise NetworkError(f"the address of {name} is not to be found")
        return seen

    world = World(
        clock=house.clock,
        client=house._client,
        authorities=house._authorities,
        at_home=at_home,
        place=lambda: PLACE,
    )
    result = follow_address(house.paths, world)
    assert result is not None
    return result


@pytest.mark.parametrize("seen", [None, HIDDEN, WanAddresses(ipv4="192.0.2.99")])
def test_a_name_that_the_router_hides_at_home_is_noticed(
    house: House, seen: WanAddresses | None
) -> None:
    """The router takes an address at home in an answer from outside for an attack."""
    stay_at_home(house)
    assert not run(house, seen).problem, "name servers may still remember that there was no name"
    house.clock.now += 1801
    result = run(house, seen)
    assert house.zone.records[SERVER_NAME, "A"] == (PLACE.lan,)
    assert result.is_correct
    assert "your router's name server answers" in result.problem
    assert "DNS rebind protection" in result.hint


def test_once_it_is_allowed_all_is_well(house: House) -> None:
    stay_at_home(house)
    run(house, None)
    house.clock.now += 1801
    assert run(house, None).problem
    house.clock.now += 300
    assert not run(house, WanAddresses(ipv4=PLACE.lan)).problem
    assert len(house.ledger.updates) == 1, "the provider has nothing to do with it"
    assert not house.ledger.breaches


def test_a_public_name_is_not_looked_up_at_home(house: House) -> None:
    """Whatever a router answers about its own address: the pages at home do not need it."""
    assert not run(house, None).problem
