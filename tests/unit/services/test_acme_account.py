"""Signing in at an authority that does not accept each nonce."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest

from appliance.errors import CertificateError
from appliance.paths import Paths
from services.acme.account import NONCE_TRIES, Authority, connect


class Server(ThreadingHTTPServer):
    """As much of RFC 8555 as a new account needs; refuses the first ``refusals`` nonces."""

    daemon_threads = True

    def __init__(self, refusals: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refusals = refusals
        self.nonces = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    @property
    def authority(self) -> Server:
        return cast("Server", self.server)

    def do_GET(self) -> None:
        places = {name: self.authority.url(f"/{name}") for name in ("newNonce", "newAccount")}
        self.answer(200, places)

    def do_HEAD(self) -> None:
        self.answer(200, None)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.authority.refusals > 0:
            self.authority.refusals -= 1
            kind = "urn:ietf:params:acme:error:badNonce"
            self.answer(400, {"type": kind, "detail": "who gave you that?"})
        else:
            self.answer(201, {"status": "valid"})

    def answer(self, status: int, body: object) -> None:
        self.authority.nonces += 1
        self.send_response(status)
        kind = "application/problem+json" if status == 400 else "application/json"
        content = b"" if body is None else json.dumps(body).encode()
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Location", self.authority.url("/account/1")),
            ("Replay-Nonce", f"nonce-{self.authority.nonces:08}"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """The test's output is not for these."""


@contextmanager
def authority(refusals: int) -> Iterator[Authority]:
    with Server(refusals) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield Authority(name="test", title="The authority", directory=server.url("/"))
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.certificates.mkdir(parents=True)
    return made


@pytest.mark.parametrize("refusals", [0, 1, 2, 2 * NONCE_TRIES - 1])
def test_refused_nonces_are_replaced(paths: Paths, refusals: int) -> None:
    with authority(refusals) as asked:
        connection = connect(paths, asked)
    assert connection.client.net.account.uri.endswith("/account/1")


def test_an_authority_that_accepts_none_is_left(paths: Paths) -> None:
    with authority(10**6) as asked, pytest.raises(CertificateError, match="badNonce") as caught:
        connect(paths, asked)
    assert caught.value.kind == "badNonce"
