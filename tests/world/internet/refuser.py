"""The router's answer to a port control version that it does not speak.

Runs in `router` as ``python3 -m world.internet.refuser PORT natpmp|pcp``, where the argument is
what the router does speak. miniupnpd speaks both and cannot be told to leave one.
"""

from __future__ import annotations

import socket
import struct
import sys

SHORTEST = 2


def refuse(request: bytes, *, speaks: str) -> bytes | None:
    """The answer of a router that speaks only one of the two; None for what is neither."""
    if len(request) < SHORTEST or request[1] >= 128:
        return None
    if speaks == "natpmp":
        # RFC 6886 3.5: version 0, result 1 (unsupported version), seconds since the start.
        return struct.pack("!BBHI", 0, 128 | request[1] & 0x7F, 1, 0)
    # RFC 6887 7.2 and 9: the highest version that we speak, result 1 (UNSUPP_VERSION).
    return struct.pack("!BBBBII12x", 2, 128 | request[1] & 0x7F, 0, 1, 1800, 0)


def main(port: str, speaks: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("", int(port)))
        while True:
            request, sender = listener.recvfrom(1100)
            if answer := refuse(request, speaks=speaks):
                listener.sendto(answer, sender)


if __name__ == "__main__":
    main(*sys.argv[1:])
