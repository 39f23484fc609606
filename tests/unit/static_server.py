"""A web server for a directory of static files, with the habits of the usual ones.

It counts what goes over the wire (requests and answers with all their headers, no TLS), and can be
told to misbehave at a path.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, cast

Fault = Callable[["Handler"], None]
# What a content delivery network adds to each answer, about as much as the larger ones do.
NETWORK_HEADERS = {
    "Via": "1.1 4b3f0d6b0c1a2e3f4a5b6c7d8e9f0a1b.cdn.example.net (Cdn)",
    "X-Cache": "RefreshHit from cdn",
    "X-Cdn-Pop": "FRA60-P9",
    "X-Cdn-Id": "uPpS7rJ5mJ0c1a2e3f4a5b6c7d8e9f0a1bQmV4cXhUe5n7Q2k0b1Zw==",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "Alt-Svc": 'h3=":443"; ma=86400',
    "Age": "214",
}


@dataclass
class Served:
    """``directory`` is what it serves; ``faults`` by path. Counts are of all requests so far."""

    directory: Path
    url: str = ""
    faults: dict[str, Fault] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, int]] = field(default_factory=list)
    bytes_in: int = 0
    bytes_out: int = 0

    @property
    def bytes(self) -> int:
        return self.bytes_in + self.bytes_out


class Counting:
    """A stream of the server's that tells how much went through it."""

    def __init__(self, stream: BinaryIO, count: Callable[[int], None]) -> None:
        self._stream, self._count = stream, count

    def readline(self, limit: int = -1) -> bytes:
        line = self._stream.readline(limit)
        self._count(len(line))
        return line

    def write(self, data: bytes) -> int:
        self._count(len(data))
        return self._stream.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "nginx/1.26.3", ""
    served: Served

    def setup(self) -> None:
        super().setup()
        self.rfile = cast("BinaryIO", Counting(self.rfile, self._count_in))  # type: ignore[assignment]
        self.wfile = cast("BinaryIO", Counting(self.wfile, self._count_out))

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if fault := self.served.faults.get(path):
            fault(self)
            return
        file = self.served.directory / path.lstrip("/")
        if not file.is_file():
            self.answer(404, b"not found")
            return
        body = file.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"ETag": etag, "Last-Modified": self.date_time_string(int(file.stat().st_mtime)),
                   "Cache-Control": "max-age=300"}  # fmt: skip
        if self.headers.get("If-None-Match") == etag:
            self.answer(304, None, headers)
        else:
            self.answer(200, body, {"Accept-Ranges": "bytes", **headers})

    def answer(
        self, status: int, body: bytes | None, headers: dict[str, str] | None = None
    ) -> None:
        self.served.requests.append((self.path, status))
        self.send_response(status)
        length = {} if body is None else {"Content-Length": str(len(body))}
        for name, value in {**length, **(headers or {}), **self.served.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body or b"")

    def _count_in(self, count: int) -> None:
        self.served.bytes_in += count

    def _count_out(self, count: int) -> None:
        self.served.bytes_out += count

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest's output is for the tests."""


@contextmanager
def serving(directory: Path) -> Iterator[Served]:
    served = Served(directory)
    handler = type("Handler", (Handler,), {"served": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
