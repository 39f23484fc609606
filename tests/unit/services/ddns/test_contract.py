"""The clients' contract, rule by rule, and a month of bad weather against every provider."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest

from services.ddns import contract
from services.ddns.client import Client
from services.ddns.contract import Adopt, ContractState, Rest, Stop, Update, Wait, Wanted
from services.ddns.outcome import Kind, Outcome
from services.ddns.provider import DAY, Ipv6, Protocol
from services.ddns.providers import PROVIDERS, find_provider
from services.wan import WanAddresses
from unit.services.ddns.bench import at_endpoint, make_client
from world.internet.ddns_endpoints import NAMES, SECRET, USER, serve
from world.internet.ddns_ledger import Entry, Ledger

ONE = WanAddresses(ipv4="192.0.2.1", ipv6="2001:db8::1")
TWO = WanAddresses(ipv4="192.0.2.2", ipv6="2001:db8::1")
START = 1_800_000_000.0
NOIP = find_provider("noip")
DESEC = find_provider("desec")


@dataclass
class Story:
    """One state through time."""

    provider: object = NOIP
    now: float = START
    state: ContractState = field(default_factory=ContractState)
    account: str = "provider/mark"

    def decide(self, addresses: WanAddresses, published: WanAddresses | None = None):
        wanted = Wanted(account=self.account, addresses=addresses, published=published)
        self.state = contract.observe(self.state, self.now, wanted)
        return contract.plan(self.state, self.now, wanted, self.provider)

    def answer(self, decision: Update, kind: Kind, *, retry_after: float = 0.0) -> None:
        self.state = contract.begin(self.state, self.now)
        outcome = Outcome(kind=kind, retry_after=retry_after)
        self.state = contract.conclude(self.state, self.now, decision, outcome, self.provider)

    def update(self, addresses: WanAddresses, kind: Kind = Kind.GOOD) -> None:
        decision = self.decide(addresses)
        assert isinstance(decision, Update), decision
        self.answer(decision, kind)


def test_only_a_change_is_told() -> None:
    story = Story()
    story.update(ONE)
    for _ in range(1000):
        story.now += 300
        assert story.decide(ONE) == Rest()
    story.update(TWO)


def test_no_more_often_than_the_interval() -> None:
    story = Story()
    story.update(ONE)
    story.now += 20
    decision = story.decide(TWO)
    assert decision == Wait(until=START + NOIP.min_interval, addresses=TWO)
    story.now = decision.until
    assert story.decide(TWO) == Update(addresses=TWO)


@pytest.mark.parametrize("kind", sorted({
    Kind.BADAUTH, Kind.NOHOST, Kind.NOTFQDN, Kind.NUMHOST, Kind.ABUSE, Kind.BADAGENT,
    Kind.DONATOR, Kind.NOTYOURS, Kind.INACTIVE, Kind.BADSYS, Kind.REFUSED,
}))  # fmt: skip
def test_a_refusal_stops_until_the_owner_acts(kind: Kind) -> None:
    story = Story()
    story.update(ONE, kind)
    for days in (0, 1, 30, 400):
        story.now = START + days * DAY
        assert isinstance(story.decide(TWO), Stop)
    story.account = "provider/another"
    assert story.decide(TWO) == Update(addresses=TWO)


def test_an_owner_who_corrects_a_typing_error_waits_a_minute_at_most() -> None:
    story = Story(provider=find_provider("ipv64"))
    story.update(ONE, Kind.BADAUTH)
    story.now += 5
    story.account = "provider/corrected"
    assert story.decide(ONE) == Wait(until=START + 60, addresses=WanAddresses(ipv4="192.0.2.1"))


def test_another_provider_is_told_at_once_and_the_same_one_is_left_its_silence() -> None:
    for account, is_told in (("provider/corrected", False), ("elsewhere/mark", True)):
        story = Story()
        story.update(ONE, Kind.OUTAGE)
        story.now += 120
        story.account = account
        decision = story.decide(ONE)
        wanted = Update(addresses=ONE) if is_told else Wait(until=START + 1800, addresses=ONE)
        assert decision == wanted


@pytest.mark.parametrize("asked", [1_764_000_000.0, float("9" * 400)], ids=["a date", "for ever"])
@pytest.mark.parametrize("kind", [Kind.LIMITED, Kind.OUTAGE, Kind.GARBLED])
def test_nobody_is_obeyed_for_longer_than_a_day(kind: Kind, asked: float) -> None:
    story = Story()
    decision = story.decide(ONE)
    assert isinstance(decision, Update)
    story.answer(decision, kind, retry_after=asked)
    assert story.decide(ONE) == Wait(until=START + DAY, addresses=ONE)


def test_the_owners_word_shortens_what_was_asked_but_not_what_the_rules_want() -> None:
    story = Story()
    story.update(ONE, Kind.OUTAGE)
    story.now += 600
    story.state = contract.released(story.state, story.now, NOIP)
    assert story.decide(ONE) == Wait(until=START + 1800, addresses=ONE)
    story = Story()
    decision = story.decide(ONE)
    assert isinstance(decision, Update)
    story.answer(decision, Kind.LIMITED, retry_after=DAY)
    story.now += 3600
    for _ in range(3):  # saying it again does not put it off
        story.state = contract.released(story.state, story.now, NOIP)
        assert story.decide(ONE) == Wait(until=START + 3600 + 1800, addresses=ONE)
        story.now += 600
    assert story.decide(ONE) == Update(addresses=ONE)


def test_silence_of_half_an_hour_after_911() -> None:
    story = Story()
    pauses = []
    for _ in range(6):
        story.update(ONE, Kind.OUTAGE)
        pauses.append(story.state.not_before - story.now)
        story.now = story.state.not_before
    assert pauses[0] == 1800
    assert pauses == sorted(pauses)
    assert pauses[-1] == contract.RETRY_LIMIT


def test_what_never_reached_the_provider_is_tried_again_soon() -> None:
    story = Story(provider=find_provider("rfc2136"))
    pauses = []
    for _ in range(8):
        story.update(ONE, Kind.UNREACHABLE)
        pauses.append(story.state.not_before - story.now)
        story.now = story.state.not_before
    assert pauses[:3] == [30, 60, 120]
    assert pauses[-1] == 900


def test_the_provider_says_how_long() -> None:
    story = Story()
    decision = story.decide(ONE)
    story.answer(decision, Kind.LIMITED, retry_after=7200)
    assert story.state.not_before == START + 7200


def test_power_cut_between_request_and_answer_does_not_double_it() -> None:
    story = Story()
    assert isinstance(story.decide(ONE), Update)
    story.state = contract.begin(story.state, story.now)  # saved; then the light goes out
    story.now += 30
    assert isinstance(story.decide(ONE), Wait)


def test_refresh_only_where_names_expire_and_every_28_days() -> None:
    for provider, expected in ((NOIP, 3), (DESEC, 0)):
        story = Story(provider=provider)
        story.update(ONE)
        refreshes = 0
        for _ in range(int(100 * DAY / 3600)):
            story.now += 3600
            decision = story.decide(ONE)
            if isinstance(decision, Update):
                assert decision.is_refresh
                refreshes += 1
                story.answer(decision, Kind.UNCHANGED)
        assert refreshes == expected


def test_a_record_changed_by_others_is_mended_once_and_then_told() -> None:
    story = Story(provider=DESEC)
    story.update(ONE)
    story.now += 600  # name servers lag behind; that is no drift
    assert story.decide(ONE, published=TWO) == Rest()
    story.now += 3600
    decision = story.decide(ONE, published=TWO)
    assert decision == Update(addresses=ONE, is_refresh=True)
    story.answer(decision, Kind.GOOD)
    story.now += 7200
    assert story.decide(ONE, published=TWO) == Rest(is_drifted=True)
    story.now += 28 * DAY
    assert isinstance(story.decide(ONE, published=TWO), Update)


def test_what_the_world_sees_already_is_not_sent() -> None:
    story = Story(provider=DESEC)
    decision = story.decide(ONE, published=ONE)
    assert decision == Adopt(addresses=ONE)
    story.state = contract.adopt(story.state, story.now, decision)
    assert story.decide(ONE) == Rest()


def test_a_family_that_is_gone_for_an_hour_is_taken_out_where_possible() -> None:
    only = WanAddresses(ipv4="192.0.2.1")
    for provider, expected in ((DESEC, Update(addresses=only)), (NOIP, Rest())):
        story = Story(provider=provider)
        story.update(ONE)
        story.now += 600
        assert story.decide(only) == Rest()
        story.now += 3600
        assert story.decide(only) == expected


def test_no_address_is_no_reason_to_ask() -> None:
    story = Story()
    assert story.decide(WanAddresses()) == Rest()
    story.update(ONE)
    story.now += 30 * 60
    assert story.decide(WanAddresses()) == Rest()


def test_provider_without_ipv6_is_not_told_of_it() -> None:
    story = Story(provider=find_provider("namecheap"))
    story.update(ONE)
    assert story.state.acknowledged == WanAddresses(ipv4="192.0.2.1")
    story.now += 3600
    assert story.decide(replace(ONE, ipv6="2001:db8::99")) == Rest()


def test_a_clock_that_was_ahead_does_not_silence_us_for_years() -> None:
    story = Story(now=START + 3650 * DAY)
    story.update(ONE, Kind.OUTAGE)
    story.now = START
    decision = story.decide(ONE)
    assert isinstance(decision, Wait)
    assert decision.until == START + 1800


@dataclass
class Weather:
    """A home connection and its provider on one day: what the simulated month is made of."""

    random: random.Random
    modes: tuple[str, ...] = ("html", "500", "429", "hang-up")
    online: bool = True
    addresses: WanAddresses = ONE

    def change(self, ledger: Ledger) -> None:
        dice = self.random.random()
        if dice < 0.010:
            last = self.random.randrange(2, 250)
            self.addresses = replace(self.addresses, ipv4=f"203.0.113.{last}")
        elif dice < 0.014:
            self.addresses = replace(self.addresses, ipv6=f"2001:db8:{last_hex(self.random)}::1")
        elif dice < 0.016:
            self.online = not self.online
        elif dice < 0.020:
            ledger.mode = self.random.choice(self.modes)
        elif dice < 0.030:
            ledger.mode = "fine"


def last_hex(source: random.Random) -> str:
    return f"{source.randrange(1, 0xFFFF):x}"


HTTP = [provider for provider in PROVIDERS if provider.id != "rfc2136"]


@pytest.mark.parametrize("provider", HTTP, ids=lambda provider: provider.id)
def test_a_month_without_one_request_too_many(provider) -> None:
    """Five minutes a step, a real endpoint on the loopback, and a clock that is made up."""
    clock = Clock()
    ledger = make_ledger(provider, clock)
    weather = Weather(random.Random(provider.id))
    if provider.protocol is Protocol.DYNDNS2:
        weather.modes = (*weather.modes, "911", "dnserr")
    story = Story(provider=provider)
    with serve(provider.id, ledger) as server:
        client = at_endpoint(make_client(provider.id), server.url)
        for _ in range(int(30 * DAY / 300)):
            clock.now += 300
            story.now = clock.now
            weather.change(ledger)
            step(story, weather, client)
        ledger.mode, weather.online = "fine", True
        for _ in range(int(DAY / 300)):
            clock.now += 300
            story.now = clock.now
            step(story, weather, client)
    assert ledger.breaches == []
    assert len(ledger.updates) > 20
    wanted = (
        weather.addresses.known if provider.ipv6 is not Ipv6.NONE else (weather.addresses.ipv4,)
    )
    assert ledger.addresses(NAMES[provider.id]) == wanted


@pytest.mark.parametrize("provider", HTTP, ids=lambda provider: provider.id)
def test_a_week_after_a_wrong_password_is_one_request(provider) -> None:
    clock = Clock()
    ledger = make_ledger(provider, clock)
    story = Story(provider=provider)
    with serve(provider.id, ledger) as server:
        client = at_endpoint(make_client(provider.id, secret="wrong"), server.url)
        for minutes in range(0, 7 * 24 * 60, 5):
            clock.now = story.now = START + minutes * 60
            addresses = replace(ONE, ipv4=f"203.0.113.{minutes // 600 + 1}")
            step(story, Weather(random.Random(1), addresses=addresses), client)
    assert len(ledger.requests) == 1
    assert ledger.breaches == []


class Clock:
    now = START

    def __call__(self) -> float:
        return self.now


def make_ledger(provider, clock: Clock) -> Ledger:
    """Cloudflare sees a request a record, so its interval is not between updates."""
    interval = 0.0 if provider.id == "cloudflare" else provider.min_interval
    return Ledger(
        user=USER, secret=SECRET, names={NAMES[provider.id]: Entry()}, now=clock,
        min_interval=interval,
    )  # fmt: skip


def step(story: Story, weather: Weather, client: Client) -> None:
    """What the job does, without its files. Offline, nothing reaches the provider."""
    addresses = weather.addresses if weather.online else WanAddresses()
    decision = story.decide(addresses)
    if not isinstance(decision, Update):
        return
    story.state = contract.begin(story.state, story.now)
    outcome = client.update(decision.addresses)
    story.state = contract.conclude(story.state, story.now, decision, outcome, story.provider)
