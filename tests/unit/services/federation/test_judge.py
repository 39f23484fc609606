"""What is judged of our own server, looked at through real sockets, with and without an outside."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from appliance.answers import Judgement
from services.federation.fetch import Fault
from services.federation.inside import look_inside
from services.federation.judge import EXPLANATIONS, Facts, judge
from services.federation.parts import list_parts
from services.federation.result import Cause
from services.federation.tester import Answer, Connection, Memory
from unit.services.federation.bench import Bench
from unit.services.federation.home import (
    NAMES,
    OURS,
    Home,
    gone,
    lead,
    other_certificate,
    spoil_keys,
    spoil_well_known,
)

NOW = time.time()
READY = Facts(is_certified=True, is_mapped=True, ours=(OURS,))
GOOD = Answer(is_ok=True, connections=(Connection(address=f"{OURS}:443"),))


def answer(
    *faults: Fault | None, address: str = OURS, other: bool = False, said: str = ""
) -> Answer:
    connections = tuple(
        Connection(address=f"{address}:{number}", fault=fault, is_other_server=other)
        for number, fault in enumerate(faults, start=443)
    )
    return Answer(is_ok=False, connections=connections, version_error=said)


@pytest.fixture
def home(bench: Bench) -> Home:
    return Home(bench, NOW)


def find(home: Home, outside: Answer | None = None, facts: Facts = READY) -> Cause:
    return judge(look_inside(home.eyes(), NAMES, now=NOW), outside, facts)


def test_every_cause_is_explained_and_only_what_is_bad_asks_for_something() -> None:
    assert set(EXPLANATIONS) == set(Cause)
    for cause, one in EXPLANATIONS.items():
        assert one.sentence.endswith("."), cause
        assert bool(one.next_step) == (one.judgement is not Judgement.GOOD), cause
        assert not one.next_step.endswith("."), cause


# ---- without an outside


def test_all_is_well_but_nobody_outside_has_said_so(home: Home) -> None:
    inside = look_inside(home.eyes(), NAMES, now=NOW)
    assert inside.comes_back
    assert judge(inside, None, READY) is Cause.INSIDE_ONLY
    assert EXPLANATIONS[Cause.INSIDE_ONLY].judgement is Judgement.UNSURE


def test_a_router_that_does_not_hairpin_is_no_fault(home: Home) -> None:
    home.hairpin(works=False)
    inside = look_inside(home.eyes(), NAMES, now=NOW)
    assert not inside.comes_back
    assert inside.route is not None
    assert [str(place) for place in inside.route.places] == [f"{OURS}:443"], (
        "by the well-known as our own door tells it"
    )
    assert judge(inside, None, READY) is Cause.INSIDE_ONLY


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (Home.starting, Cause.HOMESERVER_DOWN),
        (gone, Cause.HOMESERVER_DOWN),
        (spoil_keys, Cause.KEYS),
        (spoil_well_known, Cause.WELL_KNOWN),
        (other_certificate, Cause.CERTIFICATE),
    ],
    ids=["starting", "door shut", "keys", "well-known", "certificate"],
)
def test_what_is_broken_at_our_door_is_broken_whatever_was_said_outside(
    home: Home, spoil: Callable[[Home], None], cause: Cause
) -> None:
    spoil(home)
    assert find(home) is cause
    assert find(home, GOOD) is cause, "the outside looked before that"


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("", Cause.NO_ADDRESS),
        ("192.168.1.7", Cause.PRIVATE_ADDRESS),
        ("100.64.0.9", Cause.PRIVATE_ADDRESS),
        ("203.0.113.99", Cause.WRONG_ADDRESS),
    ],
)
def test_where_the_name_leads(home: Home, address: str, cause: Cause) -> None:
    lead(home, address)
    assert find(home) is cause


def test_dns_that_does_not_answer(home: Home) -> None:
    for name in NAMES.all:
        home.bench.zone.records.pop((name, "A"))
    eyes = home.eyes()
    names = type(NAMES)(server="home.elsewhere.net", homeserver="matrix.elsewhere.net")
    inside = look_inside(eyes, names, now=NOW)
    assert inside.dns_error
    facts = Facts(is_certified=False, is_mapped=False)
    assert judge(inside, None, facts) is Cause.NO_CERTIFICATE
    assert list_parts(inside, Memory(), None, is_certified=False)


def test_before_there_is_a_certificate(home: Home) -> None:
    gone(home)
    facts = Facts(is_certified=False, is_mapped=True, ours=(OURS,))
    assert find(home, None, facts) is Cause.NO_CERTIFICATE
    assert find(home, answer(Fault.REFUSED), facts) is Cause.NO_CERTIFICATE, "it arrives"
    assert find(home, answer(Fault.SILENT), facts) is Cause.NOTHING_ARRIVES, "it does not"


# ---- with one


@pytest.mark.parametrize(
    ("outside", "cause"),
    [
        (GOOD, Cause.GOOD),
        (answer(Fault.SILENT), Cause.NOTHING_ARRIVES),
        (answer(Fault.SILENT, Fault.SILENT), Cause.NOTHING_ARRIVES),
        (answer(Fault.REFUSED), Cause.REFUSED),
        (answer(Fault.UNREACHABLE, Fault.SILENT), Cause.REFUSED),
        (answer(Fault.UNTRUSTED), Cause.OTHER_MACHINE),
        (answer(Fault.WRONG_NAME, Fault.SILENT), Cause.OTHER_MACHINE),
        (answer(Fault.GARBLED, other=True), Cause.OTHER_MACHINE),
        (answer(Fault.GARBLED), Cause.OUTSIDE),
        (answer(Fault.STATUS), Cause.OUTSIDE),
        (answer(None, Fault.SILENT), Cause.PARTLY),
        (answer(None, said="no version"), Cause.OUTSIDE),
        (answer(), Cause.NO_ADDRESS),
        (answer(Fault.SILENT, address="203.0.113.99"), Cause.WRONG_ADDRESS),
        (answer(Fault.SILENT, address="[2001:db8::9]"), Cause.WRONG_ADDRESS),
    ],
)
def test_the_outside_decides(home: Home, outside: Answer, cause: Cause) -> None:
    assert find(home, outside) is cause


def test_a_lying_router_is_told_from_one_that_never_promised(home: Home) -> None:
    """Its hairpin works, so from inside everything is well."""
    inside = look_inside(home.eyes(), NAMES, now=NOW)
    assert inside.comes_back
    silent = answer(Fault.SILENT)
    assert judge(inside, silent, READY) is Cause.NOTHING_ARRIVES
    shut = Facts(is_certified=True, is_mapped=False, ours=(OURS,))
    assert judge(inside, silent, shut) is Cause.CLOSED


# ---- the rows


def test_the_rows_tell_what_was_seen(home: Home) -> None:
    inside = look_inside(home.eyes(), NAMES, now=NOW)
    memory = Memory(asked=NOW, answered=NOW, answer=GOOD)
    parts = list_parts(inside, memory, GOOD, is_certified=True)
    assert [part.name for part in parts] == [
        "outside", "well-known", "srv", "addresses", "tls", "keys", "version", "inside",
    ]  # fmt: skip
    assert {part.judgement for part in parts} == {Judgement.GOOD}
    details = " ".join(part.detail for part in parts)
    for text in (f"says matrix.{NAMES.server}:443", f"{OURS}:443", "ed25519:1", "Synapse 1.163.2"):
        assert text in details
    assert all(part.detail.endswith(".") for part in parts)


def test_the_rows_of_a_bad_day(home: Home) -> None:
    home.starting()
    home.hairpin(works=False)
    inside = look_inside(home.eyes(), NAMES, now=NOW)
    outside = answer(Fault.SILENT)
    parts = {part.name: part for part in list_parts(inside, Memory(), outside, is_certified=True)}
    assert parts["outside"].judgement is Judgement.BAD
    assert parts["keys"].judgement is Judgement.BAD
    assert "503" in parts["keys"].detail
    assert parts["well-known"].judgement is Judgement.GOOD
    assert parts["inside"].judgement is Judgement.UNSURE
