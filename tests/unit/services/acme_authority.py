"""An authority that speaks as much of RFC 8555 as an order needs whose names are proved already."""

from __future__ import annotations

import base64
import datetime
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.acme.account import Authority

DAYS = 90


class Server(ThreadingHTTPServer):
    """``issued`` counts the certificates, as an authority's limits do."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.names: list[dict[str, str]] = []
        self.chain = b""
        self.issued = 0
        self.nonces = 0

    @property
    def authority(self) -> Authority:
        return Authority(name="test", title="The authority", directory=self.url("/"))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def issue(self, request: bytes) -> None:
        wanted = x509.load_der_x509_csr(request)
        names = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.Name([]))
            .public_key(wanted.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=DAYS))
            .add_extension(names, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.chain = made.public_bytes(serialization.Encoding.PEM)
        self.issued += 1


class Handler(BaseHTTPRequestHandler):
    @property
    def authority(self) -> Server:
        return cast("Server", self.server)

    def do_GET(self) -> None:
        places = ("newNonce", "newAccount", "newOrder")
        self.answer(200, {name: self.authority.url(f"/{name}") for name in places})

    def do_HEAD(self) -> None:
        self.answer(200, None)

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        payload = decode(sent["payload"])
        match self.path.split("/")[1]:
            case "newAccount":
                self.answer(201, {"status": "valid"})
            case "newOrder":
                self.authority.names = json.loads(payload)["identifiers"]
                self.answer(201, self.order("ready"))
            case "proved":
                name = self.authority.names[int(self.path.split("/")[2])]
                self.answer(200, {"identifier": name, "status": "valid", "challenges": []})
            case "finalize":
                self.authority.issue(decode(json.loads(payload)["csr"]))
                self.answer(200, self.order("valid"))
            case "order":
                self.answer(200, self.order("valid"))
            case "certificate":
                self.answer(200, self.authority.chain)

    def order(self, status: str) -> dict[str, Any]:
        url, names = self.authority.url, self.authority.names
        proofs = [url(f"/proved/{number}") for number in range(len(names))]
        return {"status": status, "identifiers": names, "authorizations": proofs,
                "finalize": url("/finalize"), "certificate": url("/certificate")}  # fmt: skip

    def answer(self, status: int, body: object) -> None:
        self.authority.nonces += 1
        self.send_response(status)
        content = b"" if body is None else body if isinstance(body, bytes) else to_json(body)
        for name, value in (
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            ("Location", self.authority.url("/order")),
            ("Replay-Nonce", f"nonce-{self.authority.nonces:08}"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """The test's output is not for these."""


def to_json(body: object) -> bytes:
    return json.dumps(body).encode()


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@contextmanager
def serve_authority() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
