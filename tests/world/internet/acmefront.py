"""Let's Encrypt's addresses in front of pebble: its directory is at /directory, pebble's at /dir.

Everything else passes unchanged; pebble makes its URLs from the Host header, which is kept.
"""

from __future__ import annotations

import http.client
import http.server
import ssl
import sys

DIRECTORY = "/directory"
PEBBLE_DIRECTORY = "/dir"
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Front(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = ("127.0.0.1", 0)

    def pass_on(self) -> None:
        path = PEBBLE_DIRECTORY if self.path == DIRECTORY else self.path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        # Pebble's own certificate is for the public name; the way to it is this machine.
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        pebble = http.client.HTTPSConnection(*self.upstream, timeout=30, context=unverified)
        try:
            pebble.request(self.command, path, body or None, dict(self.headers.items()))
            answer = pebble.getresponse()
            content = answer.read()
        finally:
            pebble.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_HEAD = pass_on

    def log_message(self, format: str, *args: object) -> None:
        """Pebble writes what happens."""


def main(address: str, certificate: str, key: str, upstream_port: str) -> None:
    Front.upstream = (address, int(upstream_port))
    server = http.server.ThreadingHTTPServer((address, 443), Front)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
