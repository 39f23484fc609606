"""The public tester: when it may be asked, and how its reports are read."""

from __future__ import annotations

import http.server
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from appliance.errors import NetworkError
from services.federation.fetch import Fault
from services.federation.tester import (
    DAY,
    FRESH,
    MINUTE,
    PAUSE,
    WAITS,
    Answer,
    Memory,
    ask_tester,
    begin,
    conclude,
    may_ask,
    read_report,
    valid_answer,
    with_clock,
)

NOW = 1_700_000_000.0
NEWS = ("matrix.example.org:443", "203.0.113.7")
GOOD = Answer(is_ok=True)


def report(**changes: Any) -> dict[str, Any]:
    """As main.go's ServerReport is written for a healthy server (Go's names and omissions)."""
    seen = {
        "Certificates": [{"SubjectCommonName": "matrix.example.org", "DNSNames": []}],
        "Cipher": {"Version": "TLS 1.3", "CipherSuite": "TLS_AES_128_GCM_SHA256"},
        "Checks": {
            "AllChecksOK": True, "MatchingServerName": True, "FutureValidUntilTS": True,
            "HasEd25519Key": True, "AllEd25519ChecksOK": True,
            "Ed25519Checks": {"ed25519:1": {"ValidEd25519": True, "MatchingSignature": True}},
            "ValidCertificates": True,
        },
        "Errors": [], "Ed25519VerifyKeys": {}, "Info": {}, "Keys": {},
    }  # fmt: skip
    table: dict[str, Any] = {
        "WellKnownResult": {"m.server": "matrix.example.org:443", "CacheExpiresAt": 0},
        "DNSResult": {"SRVSkipped": True, "Addrs": ["203.0.113.7:443"]},
        "ConnectionReports": {"203.0.113.7:443": seen},
        "ConnectionErrors": {},
        "Version": {"name": "Synapse", "version": "1.163.2"},
        "FederationOK": True,
    }
    return {**table, **changes}


def read(**changes: Any) -> Answer:
    return read_report(json.dumps(report(**changes)).encode())


def seen(**checks: Any) -> dict[str, Any]:
    table = report()["ConnectionReports"]["203.0.113.7:443"]
    errors = checks.pop("errors", [])
    checks = {**table["Checks"], "AllChecksOK": False, **checks}
    return {"203.0.113.7:443": {**table, "Checks": checks, "Errors": errors}}


def test_a_good_report() -> None:
    answer = read()
    assert answer.is_ok
    assert answer.delegate == "matrix.example.org:443"
    assert answer.version == "Synapse 1.163.2"
    [connection] = answer.connections
    assert (connection.address, connection.fault) == ("203.0.113.7:443", None)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("Get \"https://203.0.113.7:443/x\": dial tcp 203.0.113.7:443: i/o timeout", Fault.SILENT),
        ("context deadline exceeded (Client.Timeout exceeded)", Fault.SILENT),
        ("dial tcp 203.0.113.7:443: connect: connection refused", Fault.REFUSED),
        ("dial tcp 203.0.113.7:443: connect: no route to host", Fault.UNREACHABLE),
        ("dial tcp [2001:db8::1]:443: connect: network is unreachable", Fault.UNREACHABLE),
        ("Non-200 response 503 from remote server", Fault.STATUS),
        ("Unable to decode JSON from remote server: invalid character '<'", Fault.GARBLED),
        ("remote error: tls: unrecognized name", Fault.GARBLED),
    ],
)  # fmt: skip
def test_what_came_in_between(said: str, fault: Fault) -> None:
    answer = read(
        ConnectionReports={}, ConnectionErrors={"203.0.113.7:443": {"Message": said}},
        FederationOK=False,
    )  # fmt: skip
    assert not answer.is_ok
    assert [one.fault for one in answer.connections] == [fault]


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("x509: certificate has expired or is not yet valid", Fault.EXPIRED),
        ("x509: certificate is valid for router.lan, not matrix.example.org", Fault.WRONG_NAME),
        ("x509: certificate signed by unknown authority", Fault.UNTRUSTED),
        ("something else", Fault.UNTRUSTED),
    ],
)
def test_certificates(said: str, fault: Fault) -> None:
    reports = seen(ValidCertificates=False, errors=[{"Message": said}])
    [connection] = read(ConnectionReports=reports, FederationOK=False).connections
    assert (connection.fault, connection.said) == (fault, said)


def test_keys_of_another_server() -> None:
    [connection] = read(ConnectionReports=seen(MatchingServerName=False)).connections
    assert connection.is_other_server
    [connection] = read(ConnectionReports=seen(AllEd25519ChecksOK=False)).connections
    assert not connection.is_other_server
    assert connection.fault is Fault.GARBLED


def test_nulls_and_errors_before_connecting() -> None:
    answer = read(
        ConnectionReports=None, ConnectionErrors=None, FederationOK=False,
        WellKnownResult={"m.server": "", "result": "No .well-known found", "CacheExpiresAt": 0},
        Version={"error": "\x1b[31mdial\ntcp: timeout"},
    )  # fmt: skip
    assert answer.connections == ()
    assert answer.well_known == "No .well-known found"
    assert answer.version_error == "[31mdial tcp: timeout", (
        "nothing in it moves a terminal's cursor"
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"GOOD", b"<!doctype html>", b"[]", b"7", b"{}", b"null", b"[" * 100_000,
     json.dumps(report(Version=None)).encode(), json.dumps(report(ConnectionReports=7)).encode(),
     b" " * 600_000 + json.dumps(report()).encode()],
)  # fmt: skip
def test_what_is_no_report(body: bytes) -> None:
    with pytest.raises(NetworkError, match="no report"):
        read_report(body)


# ---- asking it


@contextmanager
def answering(status: int, body: bytes, asked: list[str]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """``asked`` is enough."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api/report"
        server.shutdown()
        thread.join()


def test_one_question_with_the_name() -> None:
    asked: list[str] = []
    with answering(200, json.dumps(report()).encode(), asked) as url:
        assert ask_tester("home.example.org:8448", url).is_ok
    assert asked == ["/api/report?server_name=home.example.org%3A8448"]


@pytest.mark.parametrize("status", [302, 404, 429, 500, 503])
def test_a_tester_in_trouble(status: int) -> None:
    asked: list[str] = []
    with (
        answering(status, b"<html>sorry</html>", asked) as url,
        pytest.raises(NetworkError, match=str(status)),
    ):
        ask_tester("home.example.org", url)
    assert len(asked) == 1, "not again, and not elsewhere"


def test_a_tester_that_is_away() -> None:
    with answering(200, b"", []) as url:
        pass
    with pytest.raises(NetworkError, match="cannot be reached"):
        ask_tester("home.example.org", url)


# ---- the contract, on a fake clock


def live(
    days: float, *, every: float, news: dict[float, tuple[str, ...]], fails: bool = False,
    wanted: bool = False, memory: Memory | None = None,
) -> list[float]:  # fmt: skip
    """Runs of the job every so often; the times at which the tester was asked, from 0."""
    memory, asked, present = memory or Memory(), [], NEWS
    at = 0.0
    while at < days * DAY:
        present = next((value for when, value in sorted(news.items(), reverse=True) if when <= at),
                       present)  # fmt: skip
        now = NOW + at
        memory = with_clock(memory, now)
        if may_ask(memory, now, present, wanted=wanted):
            asked.append(at)
            memory = begin(memory, now, present)
            if not fails:
                memory = conclude(memory, now, GOOD)
        at += every
    return asked


def test_once_a_day_in_a_quiet_week() -> None:
    assert len(live(7, every=15 * MINUTE, news={})) == 7


def test_never_twice_in_ten_minutes_whatever_happens() -> None:
    restless = {number * 60.0: (str(number),) for number in range(24 * 60)}
    for wanted in (True, False):
        asked = live(1, every=30.0, news=restless, wanted=wanted)
        assert all(later - before >= PAUSE for before, later in itertools.pairwise(asked))
        assert len(asked) <= DAY / PAUSE


def test_news_are_asked_about_once() -> None:
    asked = live(2, every=15 * MINUTE, news={3 * 3600.0: ("new",)})
    assert asked == [0.0, 3 * 3600.0, 3 * 3600.0 + DAY]


def test_a_tester_in_trouble_is_left_alone_longer_and_longer() -> None:
    asked = live(7, every=5 * MINUTE, news={}, fails=True)
    pauses = [later - before for before, later in itertools.pairwise(asked)]
    assert pauses[: len(WAITS)] == list(WAITS)
    assert set(pauses[len(WAITS) :]) == {DAY}


def test_a_machine_that_dies_each_time_counts_each_question() -> None:
    memory = begin(Memory(), NOW, NEWS)
    assert memory.failures == 1
    assert not may_ask(memory, NOW + PAUSE - 1, NEWS, wanted=True)
    assert may_ask(memory, NOW + PAUSE, NEWS, wanted=False)


def test_a_clock_that_was_set_back_does_not_ask_more_or_never() -> None:
    memory = conclude(begin(Memory(), NOW + 30 * DAY, NEWS), NOW + 30 * DAY, GOOD)
    assert not may_ask(memory, NOW, NEWS, wanted=True)
    healed = with_clock(memory, NOW)
    assert not may_ask(healed, NOW, NEWS, wanted=True)
    assert may_ask(healed, NOW + PAUSE, NEWS, wanted=True)


def test_an_answer_counts_for_its_own_state_and_a_day() -> None:
    memory = conclude(begin(Memory(), NOW, NEWS), NOW, GOOD)
    assert valid_answer(memory, NOW + DAY, NEWS) == GOOD
    assert valid_answer(memory, NOW + FRESH, NEWS) is None
    assert valid_answer(memory, NOW, ("other",)) is None
    failed = begin(memory, NOW + DAY, NEWS)
    assert valid_answer(failed, NOW + DAY, NEWS) == GOOD, "one failed question takes nothing back"
    assert begin(memory, NOW + 1, ("other",)).answer is None
    assert replace(failed, error="x").answer == GOOD
