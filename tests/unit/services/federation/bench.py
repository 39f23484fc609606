"""Matrix servers on the loopback: real DNS, real TLS with an authority of our own, real HTTP.

Their addresses are public ones; ``Bench.dial`` leads connections to them to the loopback, which is
all that differs from the real way.
"""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.resolver

from services.federation.fetch import Web
from services.federation.lookup import Lookup
from unit.services.ddns.nameserver import Zone, serve_zone
from world.internet.trust import Authority

SECONDS = 3.0


@dataclass(frozen=True)
class Page:
    """What a path answers; ``drip`` sends it byte by byte, slowly."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    drip: bool = False


def page(value: object, **rest: Any) -> Page:
    return Page(body=json.dumps(value).encode(), **rest)


@dataclass
class Site:
    """One server with a certificate for ``names``; ``seen`` are the requests that it had."""

    names: Sequence[str]
    pages: dict[str, Page] = field(default_factory=dict)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    port: int = 0


class Bench:
    def __init__(self, directory: Path) -> None:
        self.zone = Zone()
        self.authority = Authority()
        self.roads: dict[tuple[str, int], Site] = {}
        self.silent: set[str] = set()
        self.dialled: list[tuple[str, int]] = []
        self._directory = directory
        self._stack = ExitStack()
        self._dns_port = 0

    def __enter__(self) -> Bench:
        self._dns_port = self._stack.enter_context(serve_zone(self.zone))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def name(self, name: str, *addresses: str, kind: str = "A") -> None:
        self.zone.publish(name, kind, addresses)

    def serve(
        self, *places: tuple[str, int], names: Sequence[str], authority: Authority | None = None
    ) -> Site:
        """A server at these public places."""
        site = Site(names)
        file = self._directory / f"{len(self.roads)}"
        (authority or self.authority).issue(names, file.with_suffix(".pem"), file)
        self._stack.enter_context(_serving(site, file.with_suffix(".pem"), file))
        for place in places:
            self.roads[place] = site
        return site

    @property
    def web(self) -> Web:
        return Web(dial=self.dial, context=self.trust, seconds=SECONDS)

    @property
    def lookup(self) -> Lookup:
        return Lookup(self.resolver)

    def dial(self, address: str, port: int, seconds: float) -> socket.socket:
        self.dialled.append((address, port))
        if address in self.silent:
            raise TimeoutError
        site = self.roads.get((address, port))
        if site is None:
            raise ConnectionRefusedError
        return socket.create_connection(("127.0.0.1", site.port), seconds)

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.pem)

    def resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self._dns_port
        resolver.lifetime = 2.0
        return resolver


@contextmanager
def _serving(site: Site, certificate: Path, key: Path) -> Iterator[None]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            site.seen.append((self.headers["Host"], self.path, authorization))
            found = site.pages.get(self.path.partition("?")[0], Page(status=404))
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for start in range(0, len(found.body), 1 if found.drip else len(found.body) or 1):
                    end = start + 1 if found.drip else len(found.body)
                    self.wfile.write(found.body[start:end])
                    if found.drip and stopping.wait(0.3):
                        return
            except OSError:
                return  # the client has had enough

        def log_message(self, format: str, *args: object) -> None:
            """Tests look at ``seen``."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that does not accept our certificate."""

        def finish_request(self, request: Any, client_address: Any) -> None:
            # Here and not in the listener, so that a bad handshake hurts nobody else.
            with context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)

    stopping = threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False  # so that leaving waits for them
        site.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield
        stopping.set()
        server.shutdown()
        thread.join()
