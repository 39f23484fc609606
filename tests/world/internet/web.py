"""HTTPS servers in the box that answer with the caller's address, as ip-echo services do.

Runs inside `wan`: ``python3 -m world.internet.web CERTIFICATE KEY ADDRESS...``; each address is
served on ports 443 and 80 with the same answer. A line per request goes to standard output, so
that a test can count who asked how often.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    """GET / answers with the caller's address and a newline."""

    timeout = 10

    def do_GET(self) -> None:
        # A dual-stack socket would show IPv4 callers as ::ffff:a.b.c.d; these are not.
        body = f"{self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        host = self.headers.get("Host", "-") if hasattr(self, "headers") else "-"
        print(self.client_address[0], host, format % args, flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: str, port: int, context: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.context = context
        super().__init__((address, port), Echo)

    def finish_request(self, request: socket.socket, client_address: object) -> None:
        """In the request's own thread: a silent caller must not hold the others up."""
        request.settimeout(10)
        if self.context is None:
            super().finish_request(request, client_address)
            return
        with self.context.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        print(client_address, sys.exc_info()[1], flush=True)


def main(certificate: str, key: str, *addresses: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    servers = [
        Server(address, port, secured)
        for address in addresses
        for port, secured in ((443, context), (80, None))
    ]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
