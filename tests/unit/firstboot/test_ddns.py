"""The job on an appliance of files, between a provider's endpoint and a name server of its own."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import dns.resolver
import pytest

from appliance.errors import NetworkError, UsageError
from appliance.paths import Paths
from appliance.settings import (
    Ddns,
    Public,
    Reach,
    Secrets,
    Settings,
    load_secrets,
    load_settings,
    save_toml,
)
from firstboot.ddns import World, follow_address
from firstboot.doctor import find_checks
from services.ddns.bound import BoundClient, bind
from services.ddns.client import Client
from services.ddns.outcome import Kind
from services.ddns.result import DdnsResult, hold_lock, make_client
from services.ddns.verify import Authorities, find_authorities
from services.portmap.contract import Held, State
from services.portmap.mapper import PINHOLES
from services.reach import PORTMAP, PortmapResult
from services.results import load_result, save_result
from services.wan import load_wan
from unit.services.appliance_files import SECRETS, SERVER_NAME, make_appliance
from unit.services.ddns.bench import at_endpoint
from unit.services.ddns.nameserver import Zone, serve_zone
from world.internet.ddns_endpoints import SECRET, USER, serve
from world.internet.ddns_ledger import Entry, Ledger

START = 1_800_000_000.0
FIRST = {"ipv4": "192.0.2.1", "ipv6": "2001:db8::1"}
SECOND = {"ipv4": "192.0.2.2", "ipv6": "2001:db8::1"}


class FakeClock:
    """Sleeping takes no time, and is counted."""

    def __init__(self) -> None:
        self.now = START
        self.meanwhile: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds
        self.meanwhile()


@dataclass
class House:
    """An appliance, its provider, and the zone that the provider writes to."""

    paths: Paths
    zone: Zone
    ledger: Ledger
    url: str
    port: int
    clock: FakeClock = field(default_factory=FakeClock)
    authorities_known: bool = True

    def choose(self, provider: str, *, secret: str = SECRET, sub_names: bool = False) -> None:
        settings = load_settings(self.paths.settings)
        assert settings is not None
        ddns = Ddns(provider=provider, name=SERVER_NAME, username=USER)
        public = Public(ddns=ddns, sub_names=sub_names)
        server = replace(settings.server, reach=Reach.PUBLIC)
        save(self.paths, replace(settings, server=server, public=public))
        save_toml(replace(SECRETS, ddns_secret=secret), self.paths.secrets, mode=0o600)

    def measure(self, wan: dict[str, str]) -> None:
        self.paths.results.mkdir(exist_ok=True)
        (self.paths.results / "address.json").write_text(
            json.dumps({"verdict": "open", "wan": wan})
        )
        # IPv6 is published only when the router lets it in.
        held = tuple(Held(port=port, lease=3600, renewed=0.0) for port in PINHOLES)
        save_result(self.paths, PORTMAP, PortmapResult(pinholes=State(held=held)))

    def run(self, *, after: float = 0.0, again: bool = False) -> DdnsResult:
        self.clock.now += after
        world = World(clock=self.clock, client=self._client, authorities=self._authorities)
        result = follow_address(self.paths, world, again=again)
        assert result is not None
        # What is saved is what is returned, or the next run would know less.
        kept = load_result(self.paths, "ddns", DdnsResult)
        assert kept is not None
        assert replace(kept, at=result.at, noted=result.noted) == result
        return result

    def bound(self) -> BoundClient:
        """The account as whoever wants a certificate has it."""
        settings, secrets = load_settings(self.paths.settings), load_secrets(self.paths.secrets)
        assert settings is not None
        assert settings.public is not None
        assert settings.public.ddns is not None
        ddns = settings.public.ddns
        return bind(self.paths, self._client(ddns, secrets), ddns, secrets, self.clock)

    def _client(self, ddns: Ddns, secrets: Secrets) -> Client:
        return at_endpoint(make_client(ddns, secrets), self.url)

    def _authorities(self, name: str) -> Authorities:
        if not self.authorities_known:
            raise NetworkError("no way to the name servers")
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.port
        return find_authorities(name, resolver=resolver, port=self.port)


def save(paths: Paths, settings: Settings) -> None:
    save_toml(settings, paths.settings, mode=0o640)


@pytest.fixture(params=["noip"])
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    zone = Zone()
    ledger = Ledger(user=USER, secret=SECRET, names={SERVER_NAME: Entry()}, publish=zone.publish)
    with serve(request.param, ledger) as server, serve_zone(zone) as port:
        house = House(make_appliance(tmp_path), zone, ledger, server.url, port)
        ledger.now = house.clock.time
        house.choose(request.param)
        house.measure(FIRST)
        yield house


def test_nothing_to_follow_is_nothing_to_do(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    assert follow_address(paths) is None
    assert not (paths.results / "ddns.json").exists()


def test_address_is_told_and_seen_by_the_authorities(house: House) -> None:
    result = house.run()
    assert (result.kind, result.is_correct, result.problem) == (Kind.GOOD, True, "")
    [server] = result.servers
    assert server.records == ("192.0.2.1", "2001:db8::1")


def test_new_address_is_told_in_the_run_that_finds_it(house: House) -> None:
    house.run()
    house.measure(SECOND)
    before = house.clock.now + 3600
    result = house.run(after=3600)
    assert result.is_correct
    assert house.zone.records[SERVER_NAME, "A"] == ("192.0.2.2",)
    assert house.clock.now - before < 20


def test_a_day_of_runs_is_one_request(house: House) -> None:
    writes = set()
    for _ in range(288):
        result = house.run(after=300)
        writes.add((house.paths.results / "ddns.json").stat().st_mtime_ns)
    assert len(house.ledger.requests) == 1
    assert len(writes) < 40  # one for each look at the name servers; the card is worn by them
    assert house.ledger.breaches == []
    assert result.is_correct


def test_what_is_published_already_is_not_sent(house: House) -> None:
    house.zone.publish(SERVER_NAME, "A", ("192.0.2.1",))
    house.zone.publish(SERVER_NAME, "AAAA", ("2001:db8::1",))
    result = house.run()
    assert (result.is_correct, result.problem) == (True, "")
    assert house.ledger.requests == []


def test_refusal_outlives_reboots_and_ends_with_new_settings(house: House) -> None:
    house.choose("noip", secret="wrong")
    for _ in range(5):
        result = house.run(after=86400)
        assert "does not accept" in result.problem
        assert result.hint
    assert len(house.ledger.requests) == 1
    house.ledger.forgive()
    house.choose("noip")
    assert house.run(after=120).is_correct
    assert house.ledger.breaches == []


def test_owner_may_ask_again_after_mending_it_at_the_provider(house: House) -> None:
    house.ledger.mode = "abuse"
    assert house.run().contract.stop is Kind.ABUSE
    house.ledger.mode = "fine"
    house.ledger.forgive()
    assert house.run(after=600).contract.stop is Kind.ABUSE
    result = house.run(after=60, again=True)
    assert (result.contract.stop, result.is_correct, result.problem) == (None, True, "")


def test_provider_in_trouble_is_asked_again_later_and_the_owner_told(house: House) -> None:
    house.ledger.mode = "911"
    result = house.run()
    assert "trouble of its own" in result.problem
    assert result.next_at == START + 1800
    house.ledger.mode = "fine"
    waiting = house.run(after=900)
    assert "trouble of its own" in waiting.problem
    assert waiting.next_at == START + 1800
    assert house.run(after=901).is_correct
    assert house.ledger.breaches == []


def test_a_job_that_waited_uses_the_account_that_is_chosen_now(house: House) -> None:
    """What it read before it waited would show one account's token to another one."""
    house.choose("noip", secret="of another account")
    found: list[DdnsResult] = []
    job = threading.Thread(target=lambda: found.append(house.run()))
    with hold_lock(house.paths):
        job.start()
        time.sleep(0.5)  # so that it waits, and has read whatever it reads before
        assert not found
        house.choose("noip")
    job.join()
    assert found[0].kind is Kind.GOOD
    assert len(house.ledger.requests) == 1


def test_the_owner_need_not_wait_for_what_a_stranger_asked_for(house: House) -> None:
    """A hotel's or a provider's page in between that asks for fifty years of silence."""
    state = house.run().contract
    house.measure(SECOND)
    kept = load_result(house.paths, "ddns", DdnsResult)
    assert kept is not None
    barred = replace(state, not_before=START + 1e9, failures=1)
    save_result(house.paths, "ddns", replace(kept, contract=barred))
    assert house.run(after=600).next_at == START + 1e9
    assert house.run(again=True).next_at == START + 600 + 1800
    assert house.run(after=1800).is_correct
    assert house.ledger.breaches == []


def test_lagging_name_servers_are_waited_for_but_not_for_ever(house: House) -> None:
    house.zone.frozen = True
    result = house.run()
    assert (result.kind, result.is_correct) == (Kind.GOOD, False)
    assert house.clock.now - START < 90
    house.zone.frozen = False
    house.zone.publish(SERVER_NAME, "A", ("192.0.2.1",))
    house.zone.publish(SERVER_NAME, "AAAA", ("2001:db8::1",))
    assert house.run(after=300).is_correct
    assert len(house.ledger.requests) == 1


@pytest.mark.parametrize("house", ["desec"], indirect=True)
def test_an_address_that_changes_while_the_job_waits_is_told_in_the_same_run(house: House) -> None:
    """systemd does not start what runs already."""
    house.zone.frozen = True
    house.clock.meanwhile = lambda: house.measure(SECOND)
    result = house.run()
    assert result.wanted.ipv4 == SECOND["ipv4"]
    assert house.ledger.addresses(SERVER_NAME) == tuple(SECOND.values())
    assert house.ledger.breaches == []


def test_record_that_somebody_else_changes_is_mended_once_then_told(house: House) -> None:
    house.run()
    for hours in (3, 3):
        house.zone.publish(SERVER_NAME, "A", ("203.0.113.9",))
        result = house.run(after=hours * 3600)
    assert "203.0.113.9" in result.problem
    assert "another device" in result.hint
    assert len(house.ledger.requests) == 2


def test_unknown_authorities_do_not_hold_up_the_update(house: House) -> None:
    house.authorities_known = False
    result = house.run()
    assert (result.kind, result.is_correct) == (Kind.GOOD, None)


@pytest.mark.parametrize("address", ["10.0.0.1", "100.64.0.7", "169.254.1.1", "fe80::1", "fd00::1"])
def test_addresses_that_lead_nowhere_are_not_published(house: House, address: str) -> None:
    house.measure({"ipv6" if ":" in address else "ipv4": address})
    assert load_wan(house.paths).known == ()
    assert "no address is known" in house.run().problem
    assert house.ledger.requests == []


@pytest.mark.parametrize("house", ["desec"], indirect=True)
def test_names_beneath_are_made_once(house: House) -> None:
    house.choose("desec", sub_names=True)
    names = (f"matrix.{SERVER_NAME}", f"chat.{SERVER_NAME}")
    assert house.run().aliases == names
    assert house.zone.records[names[0], "CNAME"] == (SERVER_NAME,)
    count = len(house.ledger.requests)
    house.run(after=7200)
    assert len(house.ledger.requests) == count


@pytest.mark.parametrize("house", ["desec"], indirect=True)
def test_a_certificate_asks_no_more_of_the_provider_than_the_job_may(house: House) -> None:
    """dns-01 at a provider in trouble, then with a token that it refuses."""
    house.run()
    house.ledger.mode = "429"
    assert house.bound().set_txt(f"_acme-challenge.{SERVER_NAME}", "x").kind is Kind.LIMITED
    house.clock.now += 300
    said = house.bound().set_txt(f"_acme-challenge.{SERVER_NAME}", "x")
    assert (said.kind, said.retry_after) == (Kind.LIMITED, 300.0)
    house.ledger.mode = "fine"
    house.clock.now += 301
    assert house.bound().set_txt(f"_acme-challenge.{SERVER_NAME}", "x").is_done
    house.choose("desec", secret="wrong")
    house.clock.now += 60
    assert house.bound().set_txt(f"_acme-challenge.{SERVER_NAME}", "y").kind is Kind.BADAUTH
    count = len(house.ledger.requests)
    house.clock.now += 86400
    assert house.bound().clear_txt(f"_acme-challenge.{SERVER_NAME}", "x").kind is Kind.BADAUTH
    house.measure(SECOND)
    assert house.run().contract.stop is Kind.BADAUTH
    assert len(house.ledger.requests) == count
    assert house.ledger.breaches == []


@pytest.mark.parametrize("mode", ["fine", "echo", "html", "abuse", "hang-up"])
def test_secrets_are_in_no_result_and_no_log(
    house: House, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    house.ledger.mode = mode
    house.run()
    kept = "".join(file.read_text() for file in house.paths.results.iterdir())
    assert SECRET not in kept + caplog.text
    assert SECRET in house.paths.secrets.read_text()


def test_checks_are_found_by_name() -> None:
    assert [check.name for check in find_checks(["ddns"])] == ["ddns"]
    assert len(find_checks([])) > 10
    with pytest.raises(UsageError) as caught:
        find_checks(["dds"])
    assert "ddns" in (caught.value.hint or "")
