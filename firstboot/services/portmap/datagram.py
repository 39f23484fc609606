"""Question and answer with the router's UDP port 5351, shared by NAT-PMP and PCP."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

from services.portmap.causes import Cause, Refused

PORT = 5351  # RFC 6886 section 3.1 and RFC 6887 section 19.1
MAX_PACKET = 1100  # RFC 6887 section 7


class Datagram:
    """A socket that hears only ``gateway``; an IPv6 one is written ``fe80::1%eth0``.

    ``source`` must be the address that is to be reached: the router compares (RFC 6887, 11.3).
    """

    def __init__(self, gateway: str, *, source: str | None = None, port: int = PORT) -> None:
        self.requests = 0
        self._gateway = gateway
        family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            if source is not None:
                self._socket.bind((source, 0))
            [found, *_] = socket.getaddrinfo(gateway, port, family, socket.SOCK_DGRAM)
            self._socket.connect(found[4])
            self.source = str(self._socket.getsockname()[0])
        except OSError as error:
            self._socket.close()
            raise Refused(Cause.SILENT, f"{gateway}: {error.strerror or error}") from error

    def ask(self, packet: bytes, accept: Callable[[bytes], bool], waits: Sequence[float]) -> bytes:
        """Send, and again after each of ``waits`` seconds without an answer.

        Raises Refused with SILENT when all have passed, or when nobody listens there.
        """
        try:
            for wait in waits:
                self._socket.send(packet)
                self.requests += 1
                answer = self._hear(accept, wait)
                if answer is not None:
                    return answer
        except OSError as error:  # ECONNREFUSED is the router's ICMP "port unreachable"
            raise Refused(Cause.SILENT, f"{self._gateway}: {error.strerror or error}") from error
        raise Refused(Cause.SILENT, f"{self._gateway}: no answer within {sum(waits):.0f} s")

    def _hear(self, accept: Callable[[bytes], bool], seconds: float) -> bytes | None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                answer = self._socket.recv(MAX_PACKET)
            except TimeoutError:
                return None
            if accept(answer):
                return answer
        return None

    def close(self) -> None:
        self._socket.close()
