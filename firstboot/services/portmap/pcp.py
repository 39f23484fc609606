"""PCP, RFC 6887: NAT-PMP's successor; also opens the pinholes of an IPv6 firewall."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from services.portmap.causes import Cause, Refused
from services.portmap.datagram import PORT, Datagram
from services.portmap.mapper import Entry, Granted, Port, Sign

VERSION = 2
ANNOUNCE, MAP, ANSWER = 0, 1, 128
TCP = 6
# Section 8.1.1: the first retransmission after about 3 s.
WAITS = (3.0, 3.0)
REQUEST = struct.Struct("!BBxxI16s")
HEADER = struct.Struct("!BBxBII12x")
MAP_PART = struct.Struct("!12sB3xHH16s")
# Section 13.2: no other port than the one asked for.
PREFER_FAILURE = struct.pack("!BxH", 2, 0)
# The outside address comes only with a mapping (section 11.6), here a short one of a port where
# nobody listens. Not the discard port, which the RFC proposes: a router that keeps low ports to
# itself looks for another one, and miniupnpd is busy with that for seconds.
PROBE = Port(external=61443, internal=61443)
PROBE_SECONDS = 120
NONCE_BYTES = 12
# Section 7.4
RESULTS = {
    1: Cause.UNSUPPORTED,  # UNSUPP_VERSION: it may speak NAT-PMP
    2: Cause.UNAUTHORIZED,
    4: Cause.UNSUPPORTED,  # UNSUPP_OPCODE
    7: Cause.NO_WAN,  # NETWORK_FAILURE
    8: Cause.FULL,  # NO_RESOURCES
    9: Cause.UNSUPPORTED,  # UNSUPP_PROTOCOL
    10: Cause.FULL,  # USER_EX_QUOTA
    11: Cause.CONFLICT,  # CANNOT_PROVIDE_EXTERNAL
    12: Cause.NESTED,  # ADDRESS_MISMATCH
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    lifetime: int
    epoch: int
    payload: bytes


def make_nonce(machine_id: str, port: Port) -> bytes:
    """The same at every renewal, and nobody else's: who knows it may close the port (11.1).

    Derived from the machine's identity, as systemd does for its applications, so that it needs
    no place of its own to be kept in.
    """
    # OpenSSL weighs more than all of hearth-router, which asks but never maps.
    import hashlib
    import hmac

    words = f"hearth pcp {port.internal}".encode()
    return hmac.new(machine_id.encode(), words, hashlib.sha256).digest()[:NONCE_BYTES]


class Pcp:
    """``source`` is our address that the mapping is for; IPv6 with an IPv6 ``gateway``."""

    name = "pcp"

    def __init__(
        self, gateway: str, *, machine_id: str, source: str | None = None, port: int = PORT
    ) -> None:
        self._router = Datagram(gateway, source=source, port=port)
        self._machine_id = machine_id
        self._is_ipv6 = ":" in gateway

    @property
    def requests(self) -> int:
        return self._router.requests

    def discover(self) -> Sign:
        return Sign(epoch=self._ask(ANNOUNCE, b"", lifetime=0).epoch)

    def external_address(self) -> str | None:
        granted = self._map(PROBE, PROBE_SECONDS, PREFER_FAILURE)
        self.unmap(PROBE)
        return granted.address

    def map(self, port: Port, lease: int) -> Granted:
        return self._map(port, lease, PREFER_FAILURE)

    def unmap(self, port: Port) -> None:
        self._map(Port(external=0, internal=port.internal), 0, b"")

    def holders(self, _ports: tuple[Port, ...], /) -> tuple[Entry, ...] | None:
        return None

    def close(self) -> None:
        self._router.close()

    def _map(self, port: Port, lease: int, options: bytes) -> Granted:
        nonce = make_nonce(self._machine_id, port)
        # "Any address" of the family that is wanted (section 11.1).
        wanted = bytes(16) if self._is_ipv6 else _pack("0.0.0.0")
        part = MAP_PART.pack(nonce, TCP, port.internal, port.external, wanted)
        answer = self._ask(MAP, part + options, lifetime=lease, head=part[:18])
        *_, external, raw = MAP_PART.unpack_from(answer.payload)
        if lease and port.external and external != port.external:
            # A router that does not know PREFER_FAILURE: give back what is of no use.
            self.unmap(port)
            said = f"the router offers port {external} instead of {port.external}"
            raise Refused(Cause.CONFLICT, said)
        return Granted(lease=answer.lifetime, address=_unpack(raw), epoch=answer.epoch)

    def _ask(self, opcode: int, payload: bytes, *, lifetime: int, head: bytes = b"") -> Answer:
        client = _pack(self._router.source)
        request = REQUEST.pack(VERSION, opcode, lifetime, client) + payload

        def is_ours(answer: bytes) -> bool:
            if len(answer) < HEADER.size or answer[0] != VERSION:
                # NAT-PMP's way to say "version?" is shorter (RFC 6886 section 3.5, 6887 9).
                return len(answer) >= 4 and answer[0] == 0  # noqa: PLR2004
            same = answer[1] == opcode + ANSWER
            return same and (answer[3] != 0 or answer[24 : 24 + len(head)] == head)

        answer = self._router.ask(request, is_ours, WAITS)
        if answer[0] != VERSION:
            raise Refused(Cause.UNSUPPORTED, f"the router speaks version {answer[0]}, not PCP")
        _, _, result, granted, epoch = HEADER.unpack_from(answer)
        if result:
            # In a refusal the lifetime is how long not to ask again (section 7.2).
            cause = RESULTS.get(result, Cause.UNNAMED)
            raise Refused(cause, f"PCP result {result}", retry_seconds=granted)
        part = answer[HEADER.size :]
        if opcode == MAP and len(part) < MAP_PART.size:
            raise Refused(Cause.GARBLED, f"PCP answer of {len(answer)} bytes")
        return Answer(lifetime=granted, epoch=epoch, payload=part)


def _pack(address: str) -> bytes:
    """Sixteen bytes; IPv4 as ::ffff:a.b.c.d (section 5)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return bytes(10) + b"\xff\xff" + parsed.packed if parsed.version == 4 else parsed.packed  # noqa: PLR2004


def _unpack(raw: bytes) -> str | None:
    address = ipaddress.IPv6Address(raw)
    plain = address.ipv4_mapped or address
    return None if plain.is_unspecified else str(plain)
