"""Strangers' answers that are too large, too slow, too deep: at providers and at the tester."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from appliance.errors import NetworkError
from services.ddns import web as ddns
from services.ddns.client import Client
from services.ddns.outcome import Kind
from services.ddns.providers import PROVIDERS
from services.federation import tester
from services.wan import WanAddresses
from unit.services.appliance_files import OVERLAY
from unit.services.ddns.bench import at_endpoint, make_client

HTTP = [provider.id for provider in PROVIDERS if provider.id != "rfc2136"]
HERE = WanAddresses(ipv4="192.0.2.1")
BOMB = gzip.compress(b"\0" * 40_000_000)
Speaker = Callable[[socket.socket, threading.Event], None]


@contextmanager
def stranger(speak: Speaker) -> Iterator[str]:
    """Answers every connection as ``speak`` does, whatever was asked."""
    over = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            connection.recv(65536)
            speak(connection, over)

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threads.append(threading.Thread(target=answer, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        threads = [threading.Thread(target=serve)]
        threads[0].start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()
        for thread in threads:
            thread.join()


def say(body: bytes, *headers: str, status: str = "200 OK") -> Speaker:
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""))

    def speak(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(head.encode() + body)

    return speak


def drip(start: bytes) -> Speaker:
    def speak(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while not over.wait(0.1):
            connection.sendall(b"x")

    return speak


SLOW = {"head": drip(b"HTTP/1.1 200 OK\r\nX-More: "),
        "body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")}  # fmt: skip


def client_at(provider: str, url: str) -> Client:
    return at_endpoint(make_client(provider), url)


@pytest.mark.parametrize("provider", HTTP)
def test_nothing_is_unpacked_for_a_provider(provider: str) -> None:
    with stranger(say(BOMB, "Content-Encoding: gzip")) as url:
        client = client_at(provider, url)
        client.update(HERE)  # what it imports is not measured
        tracemalloc.start()
        try:
            outcome = client.update(HERE)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 4_000_000, "unpacked it is ten times that"
    assert not outcome.is_stop


def test_what_is_packed_has_a_status_all_the_same() -> None:
    packed = say(BOMB, "Content-Encoding: gzip", "Retry-After: 600", status="429 Too Many")
    with stranger(packed) as url:
        outcome = client_at("desec", url).update(HERE)
    assert (outcome.kind, outcome.retry_after) == (Kind.LIMITED, 600)
    assert "packed" in outcome.said


@pytest.mark.parametrize("provider", HTTP)
@pytest.mark.parametrize(
    "body",
    [b"<Err1>" * 40_000, b"<ErrCount>1</ErrCount>" + b"<Err1>" * 40_000, b"<title" * 40_000,
     b"<title>" * 40_000, b"<" * 256_000, b" " * 256_000, b"[" * 256_000, b"good\n" * 50_000,
     b"<ErrCount>" + b"9" * 250_000 + b"</ErrCount>"],
    ids=["Err", "ErrCount, Err", "title", "titles", "angles", "spaces", "deep", "many", "digits"],
)  # fmt: skip
def test_no_answer_keeps_us_busy(provider: str, body: bytes) -> None:
    with stranger(say(body)) as url:
        client = client_at(provider, url)
        begin = time.process_time()
        outcome = client.update(HERE)
        assert time.process_time() - begin < 2
    assert len(outcome.said) < 200


@pytest.mark.parametrize("speak", SLOW.values(), ids=SLOW)
def test_a_provider_that_drips_is_not_waited_for(
    speak: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ddns, "TOTAL_SECONDS", 1.0)
    begin = time.monotonic()
    with stranger(speak) as url:
        outcome = client_at("duckdns", url).update(HERE)
        assert time.monotonic() - begin < 5
    assert outcome.kind is Kind.UNREACHABLE
    assert "no answer within" in outcome.said


def test_half_a_secret_is_not_told_either() -> None:
    """Where what is said is cut, the rest of a token would not be known for one."""
    secret = make_client("duckdns").account.secret
    for cut in range(1, len(secret)):
        filling = b"<i>" + b" " * (ddns.MAX_WORDS - 3 - cut)
        with stranger(say(filling + secret.encode())) as url:
            said = client_at("duckdns", url).update(HERE).said
        assert secret[: max(cut, 4)] not in said


def test_nothing_is_unpacked_for_the_tester() -> None:
    with stranger(say(BOMB, "Content-Encoding: gzip")) as url:
        tracemalloc.start()
        try:
            with pytest.raises(NetworkError, match="packed"):
                tester.ask_tester("home.example.org", url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("speak", SLOW.values(), ids=SLOW)
def test_a_tester_that_drips_is_not_waited_for(
    speak: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tester, "TOTAL_SECONDS", 1.0)
    begin = time.monotonic()
    with stranger(speak) as url, pytest.raises(NetworkError, match="no answer within"):
        tester.ask_tester("home.example.org", url)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("unit", ["ddns", "ddns-check", "federation", "federation-check", "wakeup"])
def test_whoever_listens_to_strangers_has_so_much_memory_and_no_more(unit: str) -> None:
    """Should all of this fail, the homeserver is not what the kernel kills."""
    text = (OVERLAY / f"usr/lib/systemd/system/hearth-{unit}.service").read_text()
    assert re.search(r"^MemoryMax=128M$", text, re.MULTILINE)
    assert re.search(r"^TimeoutStartSec=\w+$", text, re.MULTILINE)
