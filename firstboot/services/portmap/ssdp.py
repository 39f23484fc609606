"""Where one router's UPnP description is, asked of that router alone.

SSDP is a question to everybody on the LAN, and miniupnpc's binding keeps one of the answers without
saying whose it is. This is for when that was not the router's (UPnP Device Architecture 1.1,
section 1.3).
"""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from services.portmap.news import LOCATION, MAX_PACKET, SSDP_GROUP, SSDP_PORT

# A device of version 2 answers to version 1 as well (section 1.3.3); not all do.
TYPES = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
)
QUESTION = (
    f"M-SEARCH * HTTP/1.1\r\nHOST: {SSDP_GROUP}:{SSDP_PORT}\r\n"
    'MAN: "ssdp:discover"\r\nMX: 1\r\nST: %s\r\n\r\n'
)


def find_description(gateway: str, source: str, seconds: float) -> str:
    """The address of ``gateway``'s own description; empty when it tells none in time.

    ``source`` is our address on its network.
    """
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            asker.bind((source, 0))
            asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(source))
            for kind in TYPES:
                asker.sendto((QUESTION % kind).encode(), (SSDP_GROUP, SSDP_PORT))
            while (left := end - time.monotonic()) > 0:
                asker.settimeout(left)
                packet, (sender, _port) = asker.recvfrom(MAX_PACKET)
                location = parse_answer(packet)
                if sender == gateway and host_of(location) == gateway:
                    return location
        except OSError:
            return ""  # the time is over, or there is no network any more
    return ""


def parse_answer(packet: bytes) -> str:
    """The location that an answer to a search names; empty for anything else."""
    lines = packet.decode("ascii", errors="replace").splitlines()
    if not lines or not lines[0].upper().startswith("HTTP/"):
        return ""
    pairs = (line.partition(":") for line in lines[1:])
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return fields.get(LOCATION, "")


def host_of(url: str) -> str:
    """Empty where it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
