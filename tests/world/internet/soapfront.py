"""In front of the real miniupnpd: an IGD that takes only permanent leases.

Runs in `router` as ``python3 -m world.internet.soapfront PORT ADDRESS:PORT``. miniupnpd has no such
setting, but many routers are so (UPnP WANIPConnection:1, 2.4.16.5: error 725). Everything else is
passed on as it is, so descriptions, other actions and other errors are miniupnpd's own.
"""

from __future__ import annotations

import http.client
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LEASE = re.compile(rb"<NewLeaseDuration[^>]*>\s*(\d*)\s*<")
CLIENT = re.compile(rb"<NewInternalClient[^>]*>\s*([^<\s]*)\s*<")
FAULT = """<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"
 s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body><s:Fault>
<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>
<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{code}</errorCode>
<errorDescription>{text}</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>
"""
PERMANENT_ONLY = (725, "OnlyPermanentLeasesSupported")
NOT_AUTHORIZED = (606, "Action not authorized")
DROPPED = {"connection", "keep-alive", "transfer-encoding"}


class Front(BaseHTTPRequestHandler):
    behind = ("", 0)
    timeout = 15

    def refusal(self, body: bytes) -> tuple[int, str] | None:
        if "AddPortMapping" not in self.headers.get("SOAPAction", ""):
            return None
        client = CLIENT.search(body)
        # miniupnpd sees us as the client, so its secure mode is checked here.
        if client is None or client.group(1).decode() != self.client_address[0]:
            return NOT_AUTHORIZED
        lease = LEASE.search(body)
        return PERMANENT_ONLY if lease and int(lease.group(1) or 0) else None

    def do_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        refusal = self.refusal(body)
        if refusal:
            text = FAULT.format(code=refusal[0], text=refusal[1]).encode()
            self.answer(500, [("Content-Type", 'text/xml; charset="utf-8"')], text)
            return
        connection = http.client.HTTPConnection(*self.behind, timeout=10)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in DROPPED}
        connection.request(self.command, self.path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        kept = [(k, v) for k, v in reply.getheaders() if k.lower() not in DROPPED]
        self.answer(reply.status, [h for h in kept if h[0].lower() != "content-length"], content)
        connection.close()

    do_GET = do_POST = do_SUBSCRIBE = do_UNSUBSCRIBE = do_any

    def answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def main(port: str, behind: str) -> None:
    address, _, real_port = behind.rpartition(":")
    Front.behind = (address, int(real_port))
    ThreadingHTTPServer(("", int(port)), Front).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
