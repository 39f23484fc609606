"""A web server on this machine that counts every byte, and a file that is read from it by ranges.

The file reads as Linux reads a bundle that RAUC streams: in blocks of 4 KiB, each fetched once and
then cached, neighbours in one request.
"""

from __future__ import annotations

import http.client
import io
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

BLOCK = 4096
# What RAUC's downloader (libcurl) says with every request.
AGENT = {"User-Agent": "rauc/1.13 libcurl/8.14.1", "Accept": "*/*"}


@dataclass
class Count:
    """Bytes with their HTTP headers, both ways; TCP and TLS come on top."""

    received: int = 0
    sent: int = 0
    requests: int = 0


class CountedFile(io.RawIOBase):
    """One direction of a connection, counted."""

    def __init__(self, inner: io.BufferedIOBase, count: Count, name: str) -> None:
        self.inner, self.count, self.name = inner, count, name

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._add(self.inner.readline(-1 if size is None else size))

    def read(self, size: int = -1, /) -> bytes:
        return self._add(self.inner.read(size))

    def write(self, data: object, /) -> int:
        raw = bytes(data)  # type: ignore[call-overload]
        self._add(raw)
        return self.inner.write(raw)

    def _add(self, data: bytes) -> bytes:
        setattr(self.count, self.name, getattr(self.count, self.name) + len(data))
        return data


@contextmanager
def serve(directory: Path) -> Iterator[tuple[str, Count]]:
    """The base address of a server of ``directory`` on the loopback, and what it counts."""
    count = Count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.rfile = CountedFile(self.rfile, count, "received")  # type: ignore[assignment,arg-type]
            self.wfile = CountedFile(self.wfile, count, "sent")  # type: ignore[assignment,arg-type]

        def do_GET(self) -> None:
            count.requests += 1
            path = directory / Path(self.path).name
            size = path.stat().st_size
            first, last = 0, size - 1
            if span := self.headers.get("Range"):
                low, _, high = span.removeprefix("bytes=").partition("-")
                first, last = int(low), min(int(high or last), last)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("ETag", '"0123456789abcdef"')
            self.end_headers()
            with path.open("rb") as file:
                file.seek(first)
                self.wfile.write(file.read(last - first + 1))

        def log_message(self, format: str, *values: object) -> None:
            """Nobody reads it."""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", count
        finally:
            server.shutdown()
            thread.join()


class RemoteFile(io.RawIOBase):
    """``seek`` and ``read`` of what is at ``url``; needs a server that knows ranges."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        self._path = parts.path
        self._blocks: dict[int, bytes] = {}
        self._at = 0
        # RAUC's first request: four bytes, for the size and to see that ranges work.
        _, span = self._get(0, 3)
        self.size = int(span.rpartition("/")[2])

    def seek(self, offset: int, whence: int = 0, /) -> int:
        base = {0: 0, 1: self._at, 2: self.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def read(self, length: int = -1, /) -> bytes:
        end = self.size if length < 0 else min(self._at + length, self.size)
        start, self._at = self._at, end
        if end <= start:
            return b""
        first, last = start // BLOCK, (end - 1) // BLOCK
        self._fetch(first, last)
        whole = b"".join(self._blocks[number] for number in range(first, last + 1))
        return whole[start - first * BLOCK : end - first * BLOCK]

    def close(self) -> None:
        self._connection.close()
        super().close()

    def _fetch(self, first: int, last: int) -> None:
        """What is missing of these blocks, one request for each gap."""
        missing = [number for number in range(first, last + 1) if number not in self._blocks]
        while missing:
            run = 1
            while run < len(missing) and missing[run] == missing[0] + run:
                run += 1
            start = missing[0] * BLOCK
            data, _ = self._get(start, min(start + run * BLOCK, self.size) - 1)
            for index in range(run):
                self._blocks[missing[index]] = data[index * BLOCK : (index + 1) * BLOCK]
            del missing[:run]

    def _get(self, first: int, last: int) -> tuple[bytes, str]:
        self._connection.request(
            "GET", self._path, headers={**AGENT, "Range": f"bytes={first}-{last}"}
        )
        reply = self._connection.getresponse()
        data = reply.read()
        if reply.status != http.client.PARTIAL_CONTENT or len(data) != last - first + 1:
            raise OSError(f"{self._path}: HTTP {reply.status}, {len(data)} bytes")
        return data, reply.getheader("Content-Range", "")
