"""Keys and versions of servers on the loopback, as they should be and as they should not."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from services.federation.fetch import Fault, FetchError, Place
from services.federation.inside import look
from services.federation.keys import PATH, Flaw, check_keys, fetch_keys
from services.federation.sign import SigningKey, encode_base64, make_signing_key, sign_json
from services.federation.version import PATH as VERSION
from services.federation.version import fetch_version
from unit.services.federation.bench import Bench, Page, Site, page

NAME = "example.org"
HERE = "203.0.113.1"
PLACE = Place(address=HERE, port=8448, name=NAME, host=NAME)
NOW = 1_700_000_000.0


def make_key(number: int = 1) -> SigningKey:
    return make_signing_key(f"ed25519:{number}", bytes([number]) * 32)


def publish(name: str = NAME, *, until: float = NOW + 3600, keys: int = 1) -> dict[str, Any]:
    """What a homeserver answers, signed by each of its keys."""
    made = [make_key(number) for number in range(1, keys + 1)]
    table: dict[str, Any] = {
        "server_name": name,
        "valid_until_ts": int(until * 1000),
        "old_verify_keys": {"ed25519:old": {"key": "x", "expired_ts": 1}},
        "verify_keys": {
            one.identity: {"key": encode_base64(one.private.public_key().public_bytes_raw())}
            for one in made
        },
    }
    for one in made:
        table = sign_json(table, name, one)
    return table


def serve(bench: Bench, answer: Page) -> Site:
    site = bench.serve((HERE, 8448), names=[NAME])
    site.pages[PATH] = answer
    return site


def test_good_keys(bench: Bench) -> None:
    site = serve(bench, page(publish(keys=2)))
    found = fetch_keys(bench.web, PLACE, NAME, now=NOW)
    assert found.flaw is None
    assert found.identities == ("ed25519:1", "ed25519:2")
    assert found.valid_until == NOW + 3600
    assert site.seen[0][:2] == (NAME, PATH)


def without_signature(table: dict[str, Any]) -> None:
    del table["signatures"][NAME]["ed25519:2"]


def with_other_key(table: dict[str, Any]) -> None:
    public = make_key(9).private.public_key().public_bytes_raw()
    table["verify_keys"]["ed25519:2"]["key"] = encode_base64(public)


def with_short_key(table: dict[str, Any]) -> None:
    table["verify_keys"]["ed25519:2"]["key"] = "c2hvcnQ"


def with_longer_date(table: dict[str, Any]) -> None:
    table["valid_until_ts"] += 1


@pytest.mark.parametrize(
    "spoil", [without_signature, with_other_key, with_short_key, with_longer_date]
)
def test_keys_that_do_not_sign_themselves(spoil: Any) -> None:
    table = publish(keys=2)
    spoil(table)
    assert check_keys(table, NAME, now=NOW).flaw is Flaw.UNSIGNED


def test_another_servers_keys() -> None:
    found = check_keys(publish("router.lan"), NAME, now=NOW)
    assert (found.flaw, found.server) == (Flaw.OTHER, "router.lan")


def test_keys_that_are_over() -> None:
    assert check_keys(publish(until=NOW - 1), NAME, now=NOW).flaw is Flaw.OVER
    assert check_keys(publish(until=NOW), NAME, now=NOW).flaw is Flaw.OVER


def test_no_key_of_the_right_kind() -> None:
    table = publish()
    table["verify_keys"] = {"rsa:1": {"key": "x"}}
    assert check_keys(table, NAME, now=NOW).flaw is Flaw.NONE


@pytest.mark.parametrize(
    "table",
    [[], 7, None, {}, {"server_name": NAME}, {**publish(), "valid_until_ts": "soon"},
     {**publish(), "verify_keys": []}, {**publish(), "verify_keys": {"ed25519:1": "x"}},
     {**publish(), "verify_keys": {"ed25519:1": {"key": 7}}},
     {**publish(), "valid_until_ts": 10**400}, {**publish(), "valid_until_ts": -1}],
)  # fmt: skip
def test_what_is_not_in_the_form_of_keys(table: object) -> None:
    assert check_keys(table, NAME, now=NOW).flaw is Flaw.GARBLED


@pytest.mark.parametrize("depth", [500, 5_000, 50_000])
def test_keys_among_what_is_nested_too_deeply(bench: Bench, depth: int) -> None:
    """Python's parser walks deeper than its writer."""
    deep = "[" * depth + "]" * depth
    text = json.dumps(publish())[:-1] + f', "more": {deep}}}'
    site = serve(bench, Page(body=text.encode()))
    site.pages[VERSION] = page({"server": {"name": "Synapse", "version": "1.163.2"}})
    seen = look(bench.web, PLACE, NAME, now=NOW)
    flaw = seen.keys.flaw if seen.keys else None
    assert (seen.fault, flaw) in ((None, Flaw.UNSIGNED), (Fault.GARBLED, None))


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Page(status=503, body=b'{"errcode": "M_UNKNOWN"}'), Fault.STATUS),
        (Page(body=b"<html>router</html>"), Fault.GARBLED),
        (Page(body=b"{" + b" " * 300_000), Fault.GARBLED),
        (Page(body=b"{}" * 40, drip=True), Fault.SILENT),
    ],
    ids=["503", "html", "huge", "drip"],
)
def test_no_keys_at_all(bench: Bench, answer: Page, fault: Fault) -> None:
    serve(bench, answer)
    begin = time.monotonic()
    with pytest.raises(FetchError) as caught:
        fetch_keys(bench.web, PLACE, NAME, now=NOW)
    assert caught.value.fault is fault
    assert time.monotonic() - begin < 10


def test_a_version(bench: Bench) -> None:
    site = bench.serve((HERE, 8448), names=[NAME])
    site.pages[VERSION] = page({"server": {"name": "Synapse", "version": "1.163.2"}})
    assert fetch_version(bench.web, PLACE) == "Synapse 1.163.2"


@pytest.mark.parametrize("answer", [page({}), page({"server": "Synapse"}), Page(status=404)])
def test_no_version(bench: Bench, answer: Page) -> None:
    site = bench.serve((HERE, 8448), names=[NAME])
    site.pages[VERSION] = answer
    with pytest.raises(FetchError):
        fetch_version(bench.web, PLACE)
