"""An authoritative name server on the loopback that takes signed updates (RFC 2136, RFC 8945).

dnspython parses, checks the signatures and signs; the few rules of a server are here.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update

ZONE = "example.org"
KEY_NAME = "hearth"
KEY_SECRET = "aGVhcnRoIGhlYXJ0aCBoZWFydGggaGVhcnRoIGhlYXI="


class Zone:
    """Records by (name, type); ``lag`` holds what the world shall not see yet."""

    def __init__(self, zone: str = ZONE) -> None:
        self.zone = zone
        server = f"ns.{zone}"
        self.records: dict[tuple[str, str], tuple[str, ...]] = {
            (zone, "SOA"): (f"{server}. hostmaster.{zone}. 1 3600 600 86400 5",),
            (zone, "NS"): (f"{server}.",),
            (server, "A"): ("127.0.0.1",),
        }
        self.updates = 0
        self.frozen = False
        self.keyring = {dns.name.from_text(KEY_NAME): dns.tsig.Key(KEY_NAME, KEY_SECRET)}

    def publish(self, name: str, kind: str, values: tuple[str, ...]) -> None:
        if not self.frozen:
            self.records[name, kind] = values

    def answer(self, wire: bytes) -> bytes:
        try:
            question = dns.message.from_wire(wire, keyring=self.keyring)
        except dns.message.UnknownTSIGKey:
            return self._refuse(wire, dns.rcode.NOTAUTH, dns.rcode.BADKEY)
        except dns.tsig.BadSignature:
            return self._refuse(wire, dns.rcode.NOTAUTH, dns.rcode.BADSIG)
        reply = dns.message.make_response(question)
        reply.flags |= dns.flags.AA
        if question.opcode() == dns.opcode.UPDATE:
            reply.set_rcode(self._update(question))
        else:
            self._look_up(question, reply)
        return reply.to_wire()

    def _refuse(self, wire: bytes, code: int, tsig_error: int) -> bytes:
        """A refusal that says why in a TSIG without a MAC (RFC 8945, sections 5.2 and 5.3.2)."""
        question = dns.message.from_wire(wire, keyring=False)
        reply = dns.message.Message(question.id)
        reply.flags = dns.flags.QR | dns.flags.Flag(question.flags & 0x7800)
        reply.question = question.question
        reply.set_rcode(dns.rcode.Rcode(code))
        assert question.tsig is not None
        said = question.tsig[0].replace(mac=b"", error=tsig_error, other=b"").to_wire()
        owner = question.tsig.name.to_wire()
        assert said is not None
        assert owner is not None
        head = struct.pack("!HHIH", dns.rdatatype.TSIG, dns.rdataclass.ANY, 0, len(said))
        plain = bytearray(reply.to_wire())
        plain[10:12] = struct.pack("!H", 1)  # ARCOUNT, RFC 1035 section 4.1.1
        return bytes(plain) + owner + head + said

    def _look_up(self, question: dns.message.Message, reply: dns.message.Message) -> None:
        [asked] = question.question
        name = asked.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(asked.rdtype)
        if name != self.zone and not name.endswith(f".{self.zone}"):
            reply.set_rcode(dns.rcode.REFUSED)
            return
        values = self.records.get((name, kind), ())
        if values:
            reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *values))
            return
        records = self.records[self.zone, "SOA"]
        soa = dns.rrset.from_text(f"{self.zone}.", 60, "IN", "SOA", *records)
        reply.authority.append(soa)
        if not any(owner == name and kept for (owner, _), kept in self.records.items()):
            reply.set_rcode(dns.rcode.NXDOMAIN)

    def _update(self, message: dns.message.Message) -> dns.rcode.Rcode:
        assert isinstance(message, dns.update.UpdateMessage)
        if not message.had_tsig:
            return dns.rcode.REFUSED
        if message.zone[0].name.to_text(omit_final_dot=True) != self.zone:
            return dns.rcode.NOTAUTH
        self.updates += 1
        for change in message.update:
            key = (change.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(change.rdtype))
            before = self.records.get(key, ())
            given = tuple(record.to_text() for record in change)
            if change.deleting == dns.rdataclass.ANY:
                after: tuple[str, ...] = ()
            elif change.deleting == dns.rdataclass.NONE:
                after = tuple(one for one in before if one not in given)
            else:
                after = (*before, *(one for one in given if one not in before))
            self.publish(*key, after)
        return dns.rcode.NOERROR


@contextmanager
def serve_zone(zone: Zone) -> Iterator[int]:
    """UDP and TCP on the same port, which is what is yielded."""

    class Tcp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(5)
            with suppress(OSError, struct.error, dns.exception.DNSException):
                [length] = struct.unpack("!H", self.request.recv(2, socket.MSG_WAITALL))
                reply = zone.answer(self.request.recv(length, socket.MSG_WAITALL))
                self.request.sendall(struct.pack("!H", len(reply)) + reply)

    class Udp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, connection = self.request
            with suppress(OSError, dns.exception.DNSException):
                connection.sendto(zone.answer(wire), self.client_address)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tcp) as tcp:
        port = tcp.server_address[1]
        with socketserver.ThreadingUDPServer(("127.0.0.1", port), Udp) as udp:
            servers = (tcp, udp)
            threads = [
                threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True)
                for one in servers
            ]
            for thread in threads:
                thread.start()
            yield port
            for server in servers:
                server.shutdown()
            for thread in threads:
                thread.join()
