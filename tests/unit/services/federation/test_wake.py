"""The wake-up call itself: whom it goes to, what it says, what the answers mean."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from appliance.deadline import Deadline, wait_until
from services.federation import wake as module
from services.federation.fetch import FetchError, Place
from services.federation.neighbours import Neighbour, read_neighbours
from services.federation.sign import is_signed, make_signing_key
from services.federation.wake import PATH, Call, Outcome, prepare_calls, wake
from unit.services.federation.bench import Bench, Page, Site, page
from world.internet.trust import Authority

OWN, OTHER = "home.example.org", "example.org"
HERE, THERE = "203.0.113.1", "203.0.113.2"
KEY = make_signing_key("ed25519:1", b"\x07" * 32)


def call(server: str = OTHER) -> Call:
    [made] = prepare_calls(KEY, OWN, [Neighbour(server=server, member=f"@bob/+ü:{server}")])
    return made


def serve(bench: Bench, answer: Page, *addresses: str) -> Site:
    bench.name(OTHER, *(addresses or (HERE,)))
    site = bench.serve((HERE, 8448), names=[OTHER])
    site.pages[PATH] = answer
    return site


def test_the_call_is_signed_for_the_server_and_the_question(bench: Bench) -> None:
    site = serve(bench, page({"displayname": "Bob"}))
    assert wake(bench.web, bench.lookup, call()) is Outcome.WOKEN
    [(host, target, header)] = site.seen
    assert host == OTHER
    assert parse_qs(urlsplit(target).query) == {
        "user_id": [f"@bob/+ü:{OTHER}"], "field": ["displayname"],
    }  # fmt: skip
    parts = dict(part.split("=", 1) for part in header.removeprefix("X-Matrix ").split(","))
    parts = {name: value.strip('"') for name, value in parts.items()}
    assert (parts["origin"], parts["destination"], parts["key"]) == (OWN, OTHER, "ed25519:1")
    signed = {"method": "GET", "uri": target, "origin": OWN, "destination": OTHER,
              "signatures": {OWN: {"ed25519:1": parts["sig"]}}}  # fmt: skip
    assert is_signed(signed, OWN, "ed25519:1", KEY.private.public_key().public_bytes_raw())


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (page({"displayname": "Bob"}), Outcome.WOKEN),
        (page({"errcode": "M_NOT_FOUND", "error": "?"}, status=404), Outcome.WOKEN),
        (page({"errcode": "M_FORBIDDEN", "error": "?"}, status=403), Outcome.WOKEN),
        (page({"errcode": "M_UNAUTHORIZED", "error": "?"}, status=401), Outcome.REFUSED),
        (page({"errcode": "M_UNKNOWN", "error": "?"}, status=502), Outcome.SILENT),
        (Page(status=404, body=b"<html>"), Outcome.SILENT),
        (Page(status=404, body=b"[]"), Outcome.SILENT),
    ],
)
def test_what_the_answers_mean(bench: Bench, answer: Page, outcome: Outcome) -> None:
    serve(bench, answer)
    assert wake(bench.web, bench.lookup, call()) is outcome


def test_the_next_address_is_tried_and_no_more_than_three(bench: Bench) -> None:
    site = serve(bench, page({}), THERE, HERE)
    bench.silent.add(THERE)
    assert wake(bench.web, bench.lookup, call()) is Outcome.WOKEN
    assert len(site.seen) == 1
    bench.dialled.clear()
    bench.name(OTHER, *(f"203.0.113.{number}" for number in range(20, 26)))
    assert wake(bench.web, bench.lookup, call()) is Outcome.SILENT
    assert len([port for _, port in bench.dialled if port == 8448]) == 3


def test_no_server_is_waited_for_for_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses and redirects it has: each of them may take its time."""
    monkeypatch.setattr(module, "SERVER_SECONDS", 1.0, raising=False)
    addresses = [f"203.0.113.{number}" for number in range(20, 28)]
    bench.name(OTHER, *addresses)

    def hold(address: str, port: int, seconds: float) -> socket.socket:
        time.sleep(min(seconds, 0.4))
        if address != addresses[-1]:
            raise TimeoutError
        return bench.dial(address, port, seconds)

    site = bench.serve((addresses[-1], 443), names=[OTHER])
    site.pages["/.well-known/matrix/server"] = Page(
        status=302, headers={"Location": f"https://{OTHER}/again"}
    )
    begin = time.monotonic()
    assert wake(replace(bench.web, dial=hold), bench.lookup, call()) is Outcome.SILENT
    assert time.monotonic() - begin < 2.5


def test_a_connection_that_comes_too_late_is_closed(bench: Bench) -> None:
    """Nobody else holds it, and the agent lives for months."""
    deadline = Deadline(0.1)
    held: list[socket.socket] = []

    def hold(address: str, port: int, seconds: float) -> socket.socket:
        held.append(bench.dial(address, port, seconds))
        wait_until(lambda: deadline.expired, seconds=5, what="the end of the time", every=0.02)
        return held[0]

    bench.serve((HERE, 443), names=[OTHER])
    place = Place(address=HERE, port=443, name=OTHER, host=OTHER)
    with pytest.raises(FetchError, match="no answer in time"):
        replace(bench.web, dial=hold, deadline=deadline).get(place, "/")
    number = held[0].fileno()
    held[0].close()
    assert number == -1


def test_a_server_that_drips_is_not_waited_for_either(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SERVER_SECONDS", 1.0, raising=False)
    serve(bench, Page(body=b"{}" * 400, drip=True))
    begin = time.monotonic()
    assert wake(replace(bench.web, seconds=20.0), bench.lookup, call()) is Outcome.SILENT
    assert time.monotonic() - begin < 3


def test_our_signature_is_not_shown_to_a_stranger(bench: Bench) -> None:
    """Server-server API, "Response Authentication": the certificate comes first."""
    bench.name(OTHER, HERE)
    site = bench.serve((HERE, 8448), names=[OTHER], authority=Authority())
    site.pages[PATH] = page({})
    assert wake(bench.web, bench.lookup, call()) is Outcome.SILENT
    assert not site.seen


@pytest.mark.parametrize(
    "server",
    ["192.168.1.1", "127.0.0.1:8008", "[fe80::1]:443", "169.254.169.254:80", "nowhere.example.org",
     "elsewhere.net"],
)  # fmt: skip
def test_a_server_can_name_itself_as_it_likes(bench: Bench, server: str) -> None:
    """And our own router's pages must not be what is called."""
    assert wake(bench.web, bench.lookup, call(server)) is Outcome.SILENT
    assert not bench.dialled


def test_a_secret_is_no_part_of_what_is_shown() -> None:
    assert "X-Matrix" not in repr(call())


def test_neighbours_are_read_from_what_postgresql_answers() -> None:
    rows = [["a.org", "@x:a.org"], ["b.org:8448", "@y:b.org:8448"], ["bad name", "@z:bad name"],
            ["", "@:"], ['q"uote', '@z:q"uote'], ["1.2.3.4", "@i:1.2.3.4"]]  # fmt: skip
    text = "\n".join(json.dumps(row) for row in rows)
    assert [one.server for one in read_neighbours(text)] == ["a.org", "b.org:8448", "1.2.3.4"]
    assert read_neighbours("") == ()
