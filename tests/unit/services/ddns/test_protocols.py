"""Every protocol against an endpoint that keeps its provider's contract."""

from __future__ import annotations

import logging

import pytest

from services.ddns.outcome import Kind
from services.ddns.provider import Ipv6, Txt
from services.ddns.providers import PROVIDERS, find_provider
from services.wan import WanAddresses
from unit.services.ddns.bench import open_bench
from world.internet.ddns_endpoints import NAMES, SECRET
from world.internet.ddns_ledger import Entry

HTTP = [provider.id for provider in PROVIDERS if provider.id != "rfc2136"]
WITH_TXT = [one.id for one in PROVIDERS if one.txt is not Txt.NONE and one.id != "rfc2136"]
ONE = WanAddresses(ipv4="192.0.2.1", ipv6="2001:db8::1")
TWO = WanAddresses(ipv4="192.0.2.2", ipv6="2001:db8::2")


def taken(provider: str, addresses: WanAddresses) -> tuple[str, ...]:
    is_dual = find_provider(provider).ipv6 is not Ipv6.NONE
    return addresses.known if is_dual else (addresses.ipv4 or "",)


@pytest.mark.parametrize("provider", HTTP)
def test_update_arrives_and_a_second_is_seen_to_change_nothing(provider: str) -> None:
    with open_bench(provider) as bench:
        for addresses in (ONE, TWO):
            bench.ledger.updates.clear()
            outcome = bench.client.update(addresses)
            assert outcome.kind is Kind.GOOD, outcome
            assert bench.ledger.addresses(bench.name) == taken(provider, addresses)
        assert bench.ledger.breaches == []
        bench.ledger.updates.clear()
        again = bench.client.update(TWO)
        # Namecheap has no word for it, and deSEC and Cloudflare are not to be asked.
        assert again.is_done, again


@pytest.mark.parametrize("provider", HTTP)
def test_wrong_secret_stops(provider: str) -> None:
    with open_bench(provider, secret="a-wrong-one") as bench:
        outcome = bench.client.update(ONE)
        assert outcome.kind is Kind.BADAUTH
        assert outcome.is_stop
        assert outcome.hint
        assert bench.ledger.addresses(NAMES[provider]) == ()


@pytest.mark.parametrize("provider", HTTP)
def test_name_of_somebody_else_stops(provider: str) -> None:
    domain = NAMES[provider].partition(".")[2]
    other = f"other.{domain}" if provider != "cloudflare" else "other.example.com"
    with open_bench(provider, name=other) as bench:
        outcome = bench.client.update(ONE)
        # DuckDNS has one word for both faults.
        expected = Kind.BADAUTH if provider == "duckdns" else Kind.NOHOST
        assert outcome.kind is expected, outcome


@pytest.mark.parametrize("provider", HTTP)
@pytest.mark.parametrize(
    ("mode", "kind"),
    [("html", Kind.GARBLED), ("500", Kind.OUTAGE), ("429", Kind.LIMITED),
     ("hang-up", Kind.UNREACHABLE)],
)  # fmt: skip
def test_trouble_is_no_reason_to_stop(provider: str, mode: str, kind: Kind) -> None:
    with open_bench(provider) as bench:
        bench.ledger.mode = mode
        outcome = bench.client.update(ONE)
        assert outcome.kind is kind, outcome
        assert not outcome.is_stop
        assert (outcome.retry_after == 600) is (mode == "429")
        if mode == "html":
            assert "Sign in to continue" in outcome.said


@pytest.mark.parametrize("word", ["911", "dnserr", "abuse", "!donator"])
def test_words_of_dyndns2(word: str) -> None:
    with open_bench("noip") as bench:
        bench.ledger.mode = word
        assert bench.client.update(ONE).kind is Kind(word)


@pytest.mark.parametrize("provider", HTTP)
def test_one_family_alone(provider: str) -> None:
    row = find_provider(provider)
    with open_bench(provider) as bench:
        assert bench.client.update(ONE).is_done
        bench.ledger.updates.clear()
        assert bench.client.update(WanAddresses(ipv4="192.0.2.9")).is_done
        [ipv4, *ipv6] = bench.ledger.addresses(bench.name)
        assert ipv4 == "192.0.2.9"
        # Where a family can be taken out it is; elsewhere nothing else happens to it.
        kept = ["2001:db8::1"] if row.ipv6 is not Ipv6.NONE and not row.removes else []
        assert ipv6 == kept


@pytest.mark.parametrize("provider", ["duckdns", "desec", "cloudflare", "dynv6", "noip", "dynu"])
def test_ipv6_alone_does_not_publish_the_sender(provider: str) -> None:
    with open_bench(provider) as bench:
        assert bench.client.update(WanAddresses(ipv6="2001:db8::7")).is_done
        assert bench.ledger.addresses(bench.name) == ("2001:db8::7",)
        assert bench.ledger.breaches == []


@pytest.mark.parametrize("provider", WITH_TXT)
def test_txt_comes_and_goes(provider: str) -> None:
    with open_bench(provider) as bench:
        record = f"_acme-challenge.{bench.name}"
        is_one = find_provider(provider).txt is Txt.ONE
        place = bench.name if is_one else record
        assert bench.client.set_txt(record, "first").is_done
        assert bench.client.set_txt(record, "second").is_done
        values = set(bench.ledger.names[place].records["TXT"])
        assert values == ({"second"} if is_one else {"first", "second"})
        assert bench.client.clear_txt(record, "second").is_done
        assert "second" not in bench.ledger.names[place].records["TXT"]


@pytest.mark.parametrize("provider", ["noip", "namecheap", "freedns"])
def test_no_txt_is_said_and_not_tried(provider: str) -> None:
    with open_bench(provider) as bench:
        assert bench.client.set_txt(f"_acme-challenge.{bench.name}", "v").kind is Kind.BADSYS
        assert bench.ledger.requests == []


@pytest.mark.parametrize("provider", ["desec", "cloudflare", "dynv6"])
def test_aliases_follow_the_name(provider: str) -> None:
    with open_bench(provider) as bench:
        alias = f"matrix.{bench.name}"
        assert bench.client.set_alias(alias, bench.name).is_done
        assert bench.ledger.names[alias].records["CNAME"] == (bench.name,)


@pytest.mark.parametrize("provider", HTTP)
def test_checking_an_account_changes_nothing(provider: str) -> None:
    with open_bench(provider) as bench:
        outcome = bench.client.check_account()
        assert outcome.kind in (Kind.GOOD, Kind.UNTOLD)
        assert bench.ledger.updates == []
        if outcome.kind is Kind.UNTOLD:
            assert bench.ledger.requests == []


@pytest.mark.parametrize("provider", ["desec", "cloudflare", "dynv6", "freedns"])
def test_checking_an_account_finds_a_wrong_secret(provider: str) -> None:
    with open_bench(provider, secret="a-wrong-one") as bench:
        assert bench.client.check_account().kind is Kind.BADAUTH


@pytest.mark.parametrize("provider", HTTP)
@pytest.mark.parametrize("mode", ["fine", "html", "hang-up", "echo", "500", "911"])
def test_secrets_are_nowhere_to_be_read(
    provider: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the log at its most talkative, not in what the owner is told."""
    caplog.set_level(logging.DEBUG)
    with open_bench(provider) as bench:
        bench.ledger.mode = mode
        outcomes = [
            bench.client.update(ONE),
            bench.client.check_account(),
            bench.client.set_txt(f"_acme-challenge.{bench.name}", "value"),
        ]
        told = repr(outcomes) + repr(bench.client) + caplog.text
        told += "".join(outcome.problem + outcome.hint for outcome in outcomes)
        import base64
        import hashlib

        pair = f"anna:{SECRET}".encode()
        forms = [
            SECRET,
            base64.b64encode(pair).decode(),
            hashlib.sha1(f"anna|{SECRET}".encode()).hexdigest(),
            base64.b64encode(f"key of {bench.name}".encode()).decode().rstrip("="),
        ]
        assert [form for form in forms if form in told] == []


def test_a_redirect_does_not_carry_the_token_away() -> None:
    with open_bench("duckdns") as bench:
        bench.ledger.names["elsewhere"] = Entry()
        bench.ledger.mode = "redirect"
        outcome = bench.client.update(ONE)
        assert outcome.kind is Kind.GARBLED
        assert len(bench.ledger.requests) == 1
