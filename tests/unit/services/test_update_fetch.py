"""Hostile, broken and busy servers, and the ways of the network in between."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import ConfigError, NetworkError
from services.update.fetch import Validators, allowed, check_url, fetch
from unit.static_server import Fault, Handler, Served, serving

LIMIT = 1000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "file").write_bytes(b"content")
    with serving(tmp_path) as served:
        yield served


def answering(status: int, body: bytes = b"", **headers: str) -> Fault:
    return lambda handler: handler.answer(
        status, body, {name.replace("_", "-"): value for name, value in headers.items()}
    )


def test_the_second_request_is_conditional(server: Served) -> None:
    first = fetch(f"{server.url}/file", limit=LIMIT)
    assert first.body == b"content"
    assert first.validators.etag
    again = fetch(f"{server.url}/file", limit=LIMIT, known=first.validators)
    assert (again.body, again.validators) == (None, first.validators)


def test_a_server_that_knows_only_dates_is_asked_by_date(server: Served) -> None:
    asked: list[str | None] = []

    def answer(handler: Handler) -> None:
        asked.append(handler.headers.get("If-Modified-Since"))
        handler.answer(304, None)

    server.faults["/file"] = answer
    known = Validators(modified="Mon, 23 Nov 2026 00:00:00 GMT")
    assert fetch(f"{server.url}/file", limit=LIMIT, known=known).body is None
    assert asked == [known.modified]


def test_nothing_is_told_of_us(
    server: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, str] = {}

    def answer(handler: Handler) -> None:
        seen.update(handler.headers.items())
        handler.answer(302, b"", {"Location": "/file2", "Set-Cookie": "id=1; Path=/"})

    def then(handler: Handler) -> None:
        seen.update(handler.headers.items())
        handler.answer(200, b"x")

    (tmp_path / ".netrc").write_text("machine 127.0.0.1\nlogin a\npassword b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    server.faults = {"/file": answer, "/file2": then}
    assert fetch(f"{server.url}/file", limit=LIMIT).body == b"x"
    assert set(seen) == {"Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"}
    assert seen["User-Agent"] == "Hearth"


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503, 206, 204])
def test_any_other_status_is_told(server: Served, status: int) -> None:
    server.faults["/file"] = answering(status)
    with pytest.raises(NetworkError, match=f"status {status}"):
        fetch(f"{server.url}/file", limit=LIMIT)


def test_not_modified_is_no_answer_to_who_has_nothing(server: Served) -> None:
    server.faults["/file"] = answering(304)
    with pytest.raises(NetworkError, match="status 304"):
        fetch(f"{server.url}/file", limit=LIMIT)


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_told_apart(server: Served, status: int) -> None:
    server.faults["/file"] = answering(status)
    with pytest.raises(match=r"127\.0\.0\.1"):
        fetch(f"{server.url}/file", limit=LIMIT)


def test_too_much_is_not_read(server: Served) -> None:
    server.faults["/file"] = answering(200, bytes(LIMIT + 1))
    with pytest.raises(NetworkError, match="more than"):
        fetch(f"{server.url}/file", limit=LIMIT)


def test_a_bomb_is_not_unpacked(server: Served) -> None:
    server.faults["/file"] = answering(200, gzip.compress(bytes(900_000)), Content_Encoding="gzip")
    with pytest.raises(NetworkError, match="packed"):
        fetch(f"{server.url}/file", limit=LIMIT)


def test_a_server_that_stops_half_way(server: Served) -> None:
    def answer(handler: Handler) -> None:
        handler.answer(200, None, {"Content-Length": "900"})
        handler.wfile.write(b"half")
        handler.close_connection = True

    server.faults["/file"] = answer
    with pytest.raises(NetworkError, match="broke off"):
        fetch(f"{server.url}/file", limit=LIMIT)


def test_a_server_that_sends_a_byte_now_and_then(server: Served) -> None:
    over = threading.Event()

    def answer(handler: Handler) -> None:
        handler.answer(200, None, {"Content-Length": "900"})
        while not over.wait(0.05):
            handler.wfile.write(b"x")
            handler.wfile.flush()
        handler.close_connection = True

    server.faults["/file"] = answer
    begin = time.monotonic()
    with pytest.raises(NetworkError, match="no answer within"):
        fetch(f"{server.url}/file", limit=LIMIT, seconds=0.5)
    assert time.monotonic() - begin < 2
    over.set()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NetworkError, match="cannot be reached"):
        fetch(f"http://127.0.0.1:{port}/file", limit=LIMIT)


def test_what_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(NetworkError):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/", limit=LIMIT)
        thread.join()


def test_a_circle_ends(server: Served) -> None:
    server.faults["/file"] = answering(302, Location="/file")
    with pytest.raises(NetworkError, match="from one address to the next"):
        fetch(f"{server.url}/file", limit=LIMIT)
    assert len(server.requests) == 4


@pytest.mark.parametrize("location", ["", "http://[", "ftp://a.example/", "file:///etc/passwd",
                                      "http://u:p@127.0.0.1/", "//192.168.1.1/"])  # fmt: skip
def test_a_redirect_to_elsewhere_is_not_followed(server: Served, location: str) -> None:
    server.faults["/file"] = answering(302, Location=location)
    with pytest.raises(NetworkError):
        fetch(f"{server.url}/file", limit=LIMIT)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://a.example/x/i", "../y", "https://a.example/y"),
        ("https://a.example/i", "https://cdn.example/i", "https://cdn.example/i"),
        ("http://a.example/i", "https://a.example/i", "https://a.example/i"),
        ("http://a.example:8000/i", "http://a.example/i", "http://a.example/i"),
        ("https://a.example/i", "http://a.example/i", ""),
        ("https://a.example/i", "http://192.168.1.1/", ""),
        ("http://a.example/i", "http://192.168.1.1/", ""),
        ("http://a.example/i", "https://b.example/", ""),
    ],
)
def test_where_a_redirect_may_lead(url: str, location: str, target: str) -> None:
    if target:
        assert allowed(url, location) == target
    else:
        with pytest.raises(NetworkError, match="sends us elsewhere"):
            allowed(url, location)


@pytest.mark.parametrize("url", ["", "updates.example", "ftp://a.example", "https://", "http://[::1",
                                 "https://me:secret@a.example/", "https://a.example:99999/",
                                 "https://a.example/#x", "file:///etc"])  # fmt: skip
def test_what_is_no_address_of_a_server(url: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        check_url(url)
