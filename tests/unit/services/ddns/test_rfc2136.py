"""DNS UPDATE with a signature, to a name server that checks it, and what authorities answer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import dns.message
import dns.rdatatype
import dns.resolver
import pytest

from appliance.errors import NetworkError
from services.ddns import verify
from services.ddns.challenge import DnsAnswerer
from services.ddns.client import Client
from services.ddns.outcome import Kind
from services.ddns.provider import Account
from services.ddns.providers import find_provider
from services.ddns.verify import ServerAnswer, agreed, ask_addresses, find_authorities
from services.wan import WanAddresses
from unit.services.ddns.nameserver import KEY_NAME, KEY_SECRET, ZONE, Zone, serve_zone

NAME = f"home.{ZONE}"
BOTH = WanAddresses(ipv4="192.0.2.1", ipv6="2001:db8::1")


@pytest.fixture
def zone() -> Zone:
    return Zone()


@pytest.fixture
def port(zone: Zone) -> Iterator[int]:
    with serve_zone(zone) as port:
        yield port


@pytest.fixture
def client(port: int) -> Client:
    account = Account(name=NAME, username=KEY_NAME, secret=KEY_SECRET, endpoint=f"127.0.0.1:{port}")
    return Client(provider=find_provider("rfc2136"), account=account)


def changed(client: Client, **fields: str) -> Client:
    account = dataclasses.replace(client.account, **fields)  # type: ignore[arg-type]
    return Client(provider=client.provider, account=account)


def make_resolver(port: int) -> dns.resolver.Resolver:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], port
    return resolver


def test_update_sets_both_families_and_takes_one_away(client: Client, zone: Zone) -> None:
    assert client.update(BOTH).kind is Kind.GOOD
    assert (zone.records[NAME, "A"], zone.records[NAME, "AAAA"]) == (
        ("192.0.2.1",), ("2001:db8::1",),
    )  # fmt: skip
    assert client.update(WanAddresses(ipv6="2001:db8::2")).kind is Kind.GOOD
    assert (zone.records[NAME, "A"], zone.records[NAME, "AAAA"]) == ((), ("2001:db8::2",))
    assert zone.updates == 2


def test_checking_an_account_changes_nothing(client: Client, zone: Zone) -> None:
    outcome = client.check_account()
    assert outcome.kind is Kind.GOOD
    assert ZONE in outcome.said
    assert zone.updates == 0


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"secret": "d3Jvbmcgd3Jvbmcgd3Jvbmc="}, Kind.BADAUTH),
        ({"secret": "not base64!"}, Kind.BADAUTH),
        ({"username": "nobody"}, Kind.BADAUTH),
        ({"username": "hmac-md4:hearth"}, Kind.BADAUTH),
        ({"name": "home.example.com"}, Kind.NOTYOURS),
        ({"endpoint": "127.0.0.1:9"}, Kind.UNREACHABLE),
        ({"endpoint": "no-such-host.invalid"}, Kind.UNREACHABLE),
    ],
)
def test_what_is_wrong_is_named(
    client: Client, zone: Zone, fields: dict[str, str], kind: Kind
) -> None:
    wrong = changed(client, **fields)
    for outcome in (wrong.check_account(), wrong.update(BOTH)):
        assert outcome.kind is kind, outcome
        assert wrong.account.secret not in outcome.problem
    assert zone.updates == 0


def test_txt_values_stand_beside_each_other(client: Client, zone: Zone) -> None:
    record = f"_acme-challenge.{NAME}"
    for value in ("first", "second"):
        assert client.set_txt(record, value).is_done
    assert zone.records[record, "TXT"] == ('"first"', '"second"')
    assert client.clear_txt(record, "first").is_done
    assert zone.records[record, "TXT"] == ('"second"',)


def test_alias_is_made(client: Client, zone: Zone) -> None:
    assert client.set_alias(f"matrix.{NAME}", NAME).is_done
    assert zone.records[f"matrix.{NAME}", "CNAME"] == (f"{NAME}.",)


def test_dns_01_returns_once_the_authorities_have_it(client: Client, zone: Zone, port: int) -> None:
    authorities = find_authorities(NAME, resolver=make_resolver(port), port=port)
    answerer = DnsAnswerer(client=client, clock=time, authorities=authorities)
    answerer.present(NAME, "token", "the-validation")
    assert zone.records[f"_acme-challenge.{NAME}", "TXT"] == ('"the-validation"',)
    answerer.remove(NAME, "token", "the-validation")
    assert zone.records[f"_acme-challenge.{NAME}", "TXT"] == ()
    assert not answerer.one_at_a_time


def test_a_proof_that_is_not_taken_away_has_proved_all_the_same(
    client: Client, zone: Zone, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The authority has said "valid" by then, and counts the orders that are not finished."""
    authorities = find_authorities(NAME, resolver=make_resolver(port), port=port)
    DnsAnswerer(client=client, clock=time, authorities=authorities).present(NAME, "token", "value")
    refused = DnsAnswerer(client=changed(client, username="nobody"), clock=time)
    refused.remove(NAME, "token", "value")
    assert zone.records[f"_acme-challenge.{NAME}", "TXT"] == ('"value"',)
    assert "stays behind" in caplog.text


def test_dns_01_names_what_the_provider_refuses(client: Client) -> None:
    answerer = DnsAnswerer(client=changed(client, username="nobody"), clock=time)
    with pytest.raises(NetworkError, match="does not accept the user name") as caught:
        answerer.present(NAME, "token", "value")
    assert caught.value.hint


def test_authorities_are_found_and_asked(zone: Zone, port: int) -> None:
    authorities = find_authorities(NAME, resolver=make_resolver(port), port=port)
    assert (authorities.zone, authorities.servers) == (ZONE, (("ns.example.org", "127.0.0.1"),))
    [none] = ask_addresses(NAME, authorities)
    assert (none.records, none.error) == ((), "")
    zone.publish(NAME, "A", ("192.0.2.1",))
    zone.publish(NAME, "AAAA", ("2001:db8::1",))
    assert agreed(ask_addresses(NAME, authorities)) == BOTH


def test_a_silent_authority_is_told_from_an_empty_one(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "ANSWER_SECONDS", 0.3)
    authorities = find_authorities(NAME, resolver=make_resolver(port), port=port)
    gone = dataclasses.replace(authorities, servers=(("ns.example.org", "127.0.0.1"),), port=9)
    [answer] = ask_addresses(NAME, gone)
    assert answer.error
    assert agreed([answer]) is None


class Dropping(Zone):
    """A name server, or a router's, that never answers some questions."""

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        names = [f"ns{number}.{ZONE}" for number in range(8)]
        self.records[ZONE, "NS"] = tuple(f"{name}." for name in names)
        self.records |= {(name, "A"): ("127.0.0.1",) for name in names}
        self.kinds = kinds

    def answer(self, wire: bytes) -> bytes:
        if dns.rdatatype.to_text(dns.message.from_wire(wire).question[0].rdtype) in self.kinds:
            raise OSError("dropped")
        return super().answer(wire)


def test_nobody_waits_for_ipv6_where_there_is_ipv4() -> None:
    with serve_zone(Dropping("AAAA")) as port:
        begin = time.monotonic()
        found = find_authorities(NAME, resolver=make_resolver(port), port=port)
        assert time.monotonic() - begin < 3
    assert found.servers == tuple((f"ns{number}.{ZONE}", "127.0.0.1") for number in range(6))


def test_the_search_for_authorities_ends_whatever_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "FIND_SECONDS", 0.5)
    for kinds in (("A", "AAAA"), ("NS",), ("SOA",)):
        with serve_zone(Dropping(*kinds)) as port:
            begin = time.monotonic()
            with pytest.raises(NetworkError):
                find_authorities(NAME, resolver=make_resolver(port), port=port)
            assert time.monotonic() - begin < 4


def test_no_zone_is_an_error_with_a_hint(port: int) -> None:
    with pytest.raises(NetworkError, match="cannot be found") as caught:
        find_authorities("home.example.com", resolver=make_resolver(port), port=port)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("answers", "common"),
    [
        ([("192.0.2.1",), ("192.0.2.1",)], WanAddresses(ipv4="192.0.2.1")),
        ([("192.0.2.1",), ("192.0.2.2",)], None),
        ([("192.0.2.1", "192.0.2.2")], None),
        ([()], WanAddresses()),
        ([], None),
    ],
)
def test_authorities_must_agree(
    answers: list[tuple[str, ...]], common: WanAddresses | None
) -> None:
    given = [ServerAnswer(server="ns", records=records) for records in answers]
    assert agreed(given) == common
    silent = ServerAnswer(server="ns2", error="timed out")
    assert agreed([*given, silent]) == common
