"""A router's UDP port 5351 on loopback: NAT-PMP (RFC 6886) and PCP (RFC 6887) by the letter.

It keeps a real table with leases on the clock that it is given, and counts what it is asked.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field

from appliance.deadline import Clock

OUTSIDE = "203.0.113.10"
MAPPED = bytes(10) + b"\xff\xff"


@dataclass
class Lease:
    internal: int
    nonce: bytes
    ends: float


@dataclass
class UdpGateway:
    """``taken`` are ports of somebody else; ``lowest`` is the lowest port that may be had."""

    clock: Clock
    versions: tuple[int, ...] = (0, 2)
    taken: frozenset[int] = frozenset()
    lowest: int = 0
    room: int = 100
    outside: str = OUTSIDE
    mute: int = 0  # so many requests are lost on the way
    knows_prefer_failure: bool = True
    table: dict[int, Lease] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> UdpGateway:
        self.started = self.clock.monotonic()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(timeout=5)
        self._socket.close()

    def reboot(self) -> None:
        self.table.clear()
        self.started = self.clock.monotonic()

    @property
    def epoch(self) -> int:
        return int(self.clock.monotonic() - self.started)

    def open_ports(self) -> dict[int, int]:
        self._expire()
        return {external: lease.internal for external, lease in sorted(self.table.items())}

    def _serve(self) -> None:
        while True:
            packet, sender = self._socket.recvfrom(2048)
            if not packet:
                return
            if self.mute:
                self.mute -= 1
                self.asked["lost"] += 1
                continue
            answer = self._answer(packet, sender[0])
            if answer:
                self._socket.sendto(answer, sender)

    def _answer(self, packet: bytes, sender: str) -> bytes:
        self._expire()
        version = packet[0]
        if version not in self.versions:
            self.asked["wrong version"] += 1
            # RFC 6886 3.5; RFC 6887 9: in the server's own version.
            if 2 in self.versions:
                return struct.pack("!BBBBII12x", 2, packet[1] | 128, 0, 1, 0, self.epoch)
            return struct.pack("!BBHI", 0, packet[1] | 128, 1, self.epoch)
        return self._natpmp(packet) if version == 0 else self._pcp(packet, sender)

    def _natpmp(self, packet: bytes) -> bytes:
        if len(packet) == 2 and packet[1] == 0:
            self.asked["address"] += 1
            result = 0 if self.outside else 3
            address = socket.inet_aton(self.outside or "0.0.0.0")
            return struct.pack("!BBHI4s", 0, 128, result, self.epoch, address)
        _, opcode, _, internal, external, lifetime = struct.unpack("!BBHHHI", packet)
        result, external = self._map(internal, external, lifetime, b"", prefer_failure=False)
        # RFC 6886 has no "taken": another port is granted. 2 is "not authorized", 4 "resources".
        lifetime = lifetime if result == 0 else 0
        code = {0: 0, 8: 4}.get(result, 2)
        return struct.pack(
            "!BBHIHHI", 0, opcode | 128, code, self.epoch, internal, external, lifetime
        )

    def _pcp(self, packet: bytes, sender: str) -> bytes:
        _, opcode, lifetime, client = struct.unpack_from("!BBxxI16s", packet)
        if client != MAPPED + ipaddress.IPv4Address(sender).packed:
            return self._pcp_answer(opcode, 12, 0, packet[24:])
        if opcode == 0:
            self.asked["announce"] += 1
            return self._pcp_answer(0, 0, 0, b"")
        nonce, protocol, internal, external, _ = struct.unpack_from("!12sB3xHH16s", packet, 24)
        prefer = self.knows_prefer_failure and packet[60:64] == b"\x02\x00\x00\x00"
        result, external = self._map(internal, external, lifetime, nonce, prefer_failure=prefer)
        part = struct.pack(
            "!12sB3xHH16s", nonce, protocol, internal, external,
            MAPPED + ipaddress.IPv4Address(self.outside).packed,
        )  # fmt: skip
        return self._pcp_answer(1, result, 1800 if result else lifetime, part)

    def _pcp_answer(self, opcode: int, result: int, lifetime: int, part: bytes) -> bytes:
        head = struct.pack("!BBBBII12x", 2, opcode | 128, 0, result, lifetime, self.epoch)
        return head + part

    def _map(
        self, internal: int, external: int, lifetime: int, nonce: bytes, *, prefer_failure: bool
    ) -> tuple[int, int]:
        """PCP's result code, and the port. A lifetime of 0 deletes."""
        mine = {port: lease for port, lease in self.table.items() if lease.internal == internal}
        if lifetime == 0:
            self.asked["unmap"] += 1
            for port, lease in mine.items():
                if lease.nonce == nonce:
                    del self.table[port]
            return 0, 0
        self.asked["map"] += 1
        wanted = next(iter(mine), external or internal)
        is_free = wanted not in self.taken and wanted >= self.lowest
        if wanted in self.table and self.table[wanted].internal != internal:
            is_free = False
        if not is_free:
            if prefer_failure:
                return 11, external
            wanted = max(wanted, self.lowest, 20000)
        if wanted not in self.table and len(self.table) >= self.room:
            return 8, external
        self.table[wanted] = Lease(internal, nonce, self.clock.monotonic() + lifetime)
        return 0, wanted

    def _expire(self) -> None:
        now = self.clock.monotonic()
        for port in [port for port, lease in self.table.items() if lease.ends <= now]:
            del self.table[port]
