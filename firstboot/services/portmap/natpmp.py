"""NAT-PMP, RFC 6886: small packets to the router, an answer within milliseconds."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from services.portmap.causes import Cause, Refused
from services.portmap.datagram import PORT, Datagram
from services.portmap.mapper import Entry, Granted, Port, Sign

VERSION = 0
ADDRESS, MAP_TCP, ANSWER = 0, 2, 128
# Section 3.1: 250 ms, then doubled. The RFC goes on to 64 s; on a LAN four tries will do.
WAITS = (0.25, 0.5, 1.0, 2.0)
ADDRESS_ANSWER = struct.Struct("!BBHI4s")
MAP_REQUEST = struct.Struct("!BBHHHI")
MAP_ANSWER = struct.Struct("!BBHIHHI")
HEADER = struct.Struct("!BBH")
# Section 3.5
RESULTS = {
    1: Cause.UNSUPPORTED,
    2: Cause.UNAUTHORIZED,
    3: Cause.NO_WAN,
    4: Cause.FULL,
    5: Cause.UNSUPPORTED,
}


@dataclass(frozen=True, kw_only=True)
class Mapped:
    epoch: int
    external: int
    lease: int


class NatPmp:
    name = "nat-pmp"

    def __init__(self, gateway: str, *, source: str | None = None, port: int = PORT) -> None:
        self._router = Datagram(gateway, source=source, port=port)

    @property
    def requests(self) -> int:
        return self._router.requests

    def discover(self) -> Sign:
        epoch, address = self._ask_address()
        return Sign(epoch=epoch, address=address)

    def external_address(self) -> str | None:
        return self._ask_address()[1]

    def map(self, port: Port, lease: int) -> Granted:
        answer = self._ask_map(port, lease)
        if answer.external != port.external:
            # Section 3.3: a taken port is answered with another one, which is of no use to us.
            self._ask_map(Port(external=0, internal=port.internal), 0)
            said = f"the router offers port {answer.external} instead of {port.external}"
            raise Refused(Cause.CONFLICT, said)
        return Granted(lease=answer.lease, epoch=answer.epoch)

    def unmap(self, port: Port) -> None:
        # Section 3.4: lifetime and external port 0. With UPnP a lease of 0 is for good.
        self._ask_map(Port(external=0, internal=port.internal), 0)

    def holders(self, _ports: tuple[Port, ...], /) -> tuple[Entry, ...] | None:
        return None

    def close(self) -> None:
        self._router.close()

    def _ask_address(self) -> tuple[int, str | None]:
        answer = self._ask(bytes((VERSION, ADDRESS)), ADDRESS, ADDRESS_ANSWER.size)
        *_, epoch, raw = ADDRESS_ANSWER.unpack_from(answer)
        address = socket.inet_ntoa(raw)
        return epoch, None if address == "0.0.0.0" else address

    def _ask_map(self, port: Port, lease: int) -> Mapped:
        request = MAP_REQUEST.pack(VERSION, MAP_TCP, 0, port.internal, port.external, lease)
        answer = self._ask(request, MAP_TCP, MAP_ANSWER.size, internal=port.internal)
        *_, epoch, _internal, external, granted = MAP_ANSWER.unpack_from(answer)
        return Mapped(epoch=epoch, external=external, lease=granted)

    def _ask(self, request: bytes, opcode: int, size: int, *, internal: int | None = None) -> bytes:
        def is_ours(answer: bytes) -> bool:
            if len(answer) < HEADER.size or answer[1] != opcode + ANSWER:
                return False
            if HEADER.unpack_from(answer)[2] or internal is None:
                return True
            # A late answer about another port must not pass for this one's.
            return len(answer) >= size and MAP_ANSWER.unpack_from(answer)[4] == internal

        answer = self._router.ask(request, is_ours, WAITS)
        result = HEADER.unpack_from(answer)[2]
        if result:
            raise Refused(RESULTS.get(result, Cause.UNNAMED), f"NAT-PMP result {result}")
        if len(answer) < size:
            raise Refused(Cause.GARBLED, f"NAT-PMP answer of {len(answer)} bytes")
        return answer
