"""An Internet Gateway Device on loopback, as the UPnP forum's IGD:1 text has it: SOAP over HTTP.

Found by its description's address, not by SSDP, which needs a network of its own (tests/world).
``refuse`` gives the error code for an action; the rest is a real table.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
DESCRIPTION = f"""<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor>
</specVersion><device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<deviceList><device><deviceType>urn:schemas-upnp-org:device:WANDevice:1</deviceType>
<serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType>
<controlURL>/cif</controlURL><eventSubURL>/e</eventSubURL><SCPDURL>/s</SCPDURL></service>
</serviceList><deviceList><device>
<deviceType>urn:schemas-upnp-org:device:WANConnectionDevice:1</deviceType><serviceList><service>
<serviceType>{SERVICE}</serviceType><controlURL>/ip</controlURL><eventSubURL>/e</eventSubURL>
<SCPDURL>/s</SCPDURL></service></serviceList></device></deviceList></device></deviceList></device>
</root>"""
ENVELOPE = """<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"
s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>{}</s:Body></s:Envelope>"""
FAULT = """<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>
<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{}</errorCode>
<errorDescription>no</errorDescription></UPnPError></detail></s:Fault>"""


@dataclass
class IgdGateway:
    """``redirect`` makes every mapping lead to its own external port (FunBox 6)."""

    refuse: dict[str, int] = field(default_factory=dict)
    permanent_only: bool = False
    redirect: bool = False
    host: str = "127.0.0.1"
    outside: str = "203.0.113.10"
    uptime: int = 1000
    hang: threading.Event | None = None
    table: dict[int, dict[str, str]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> IgdGateway:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                self._send(200, DESCRIPTION)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                action = self.headers["SOAPAction"].strip('"').rpartition("#")[2]
                if gateway.hang is not None:
                    gateway.hang.wait(30)
                code, text = gateway.act(action, body)
                self._send(code, ENVELOPE.format(text))

            def _send(self, code: int, text: str) -> None:
                raw = text.encode()
                self.send_response(code)
                self.send_header("Content-Type", 'text/xml; charset="utf-8"')
                self.send_header("Content-Length", str(len(raw)))
                self.send_header("Connection", "close")
                self.end_headers()
                with suppress(BrokenPipeError):  # the client may have been ended meanwhile
                    self.wfile.write(raw)
                self.close_connection = True

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._server.daemon_threads = True
        self.location = f"http://{self.host}:{self._server.server_port}/root.xml"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.hang is not None:
            self.hang.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def act(self, action: str, body: str) -> tuple[int, str]:
        self.asked[action] += 1
        values = dict(re.findall(r"<(New\w+)[^>]*>([^<]*)</", body))
        if action in self.refuse:
            return 500, FAULT.format(self.refuse[action])
        result = getattr(self, f"_{action}")(values)
        if isinstance(result, int):
            return 500, FAULT.format(result)
        inner = "".join(f"<{name}>{value}</{name}>" for name, value in result.items())
        return 200, f'<u:{action}Response xmlns:u="{SERVICE}">{inner}</u:{action}Response>'

    def _GetStatusInfo(self, _: dict[str, str]) -> dict[str, str]:
        return {"NewConnectionStatus": "Connected", "NewLastConnectionError": "ERROR_NONE",
                "NewUptime": str(self.uptime)}  # fmt: skip

    def _GetExternalIPAddress(self, _: dict[str, str]) -> dict[str, str]:
        return {"NewExternalIPAddress": self.outside}

    def _GetSpecificPortMappingEntry(self, values: dict[str, str]) -> dict[str, str] | int:
        return self.table.get(int(values["NewExternalPort"]), 714)

    def _AddPortMapping(self, values: dict[str, str]) -> dict[str, str] | int:
        port = int(values["NewExternalPort"])
        known = self.table.get(port)
        if known is not None and known["NewInternalClient"] != values["NewInternalClient"]:
            return 718
        if self.permanent_only and values["NewLeaseDuration"] != "0":
            return 725
        internal = str(port) if self.redirect else values["NewInternalPort"]
        self.table[port] = {
            "NewInternalPort": internal,
            "NewInternalClient": values["NewInternalClient"],
            "NewEnabled": "1",
            "NewPortMappingDescription": values["NewPortMappingDescription"],
            "NewLeaseDuration": values["NewLeaseDuration"],
        }
        return {}

    def _DeletePortMapping(self, values: dict[str, str]) -> dict[str, str] | int:
        return {} if self.table.pop(int(values["NewExternalPort"]), None) else 714
