"""A machine of the home that says it is the router: ``python3 -m world.internet.impostor ADDRESS``.

It answers every search for a gateway, before the router and after it, so that it is the first of
them in any order, and grants whatever it is asked for. Its name for the outside is OUTSIDE.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading

from unit.services.gateway_igd import IgdGateway

OUTSIDE = "203.0.113.66"
GROUP, PORT = "239.255.255.250", 1900
LATER_SECONDS = 0.4
KIND = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
ANSWER = (
    "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: {kind}\r\n"
    "USN: uuid:impostor-{time}::{kind}\r\nEXT:\r\nSERVER: a/1 UPnP/1.1 b/1\r\n"
    "LOCATION: {location}?{time}\r\n\r\n"
)


def main(address: str) -> None:
    with IgdGateway(host=address, outside=OUTSIDE) as gateway, _open(address) as listener:
        sys.stderr.write("listening\n")
        while True:
            packet, sender = listener.recvfrom(2048)
            if not packet.startswith(b"M-SEARCH"):
                continue
            for time, seconds in (("now", 0.0), ("later", LATER_SECONDS)):
                text = ANSWER.format(kind=KIND, time=time, location=gateway.location)
                threading.Timer(seconds, listener.sendto, (text.encode(), sender)).start()


def _open(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", PORT))
    group = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton(address))
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    return listener


if __name__ == "__main__":
    main(sys.argv[1])
