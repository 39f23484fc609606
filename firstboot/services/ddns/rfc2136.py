"""DNS UPDATE (RFC 2136) with a TSIG key (RFC 8945), to a name server of the owner's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.ddns.outcome import Kind, Outcome, RefusalError
from services.ddns.provider import Account, Provider
from services.wan import WanAddresses

if TYPE_CHECKING:
    import dns.message
    import dns.update

PORT = 53
ANSWER_SECONDS = 15.0
TTL = 60
ALGORITHMS = ("hmac-sha256", "hmac-sha512", "hmac-sha384", "hmac-sha224", "hmac-sha1")
# RFC 2136 section 2.2 and RFC 8945 section 3
KINDS = {
    "FORMERR": Kind.REFUSED, "SERVFAIL": Kind.DNSERR, "NOTIMP": Kind.BADSYS,
    "REFUSED": Kind.NOTYOURS, "NOTAUTH": Kind.NOTYOURS, "NOTZONE": Kind.NOHOST,
    "NXDOMAIN": Kind.NOHOST, "YXDOMAIN": Kind.REFUSED, "YXRRSET": Kind.REFUSED,
    "NXRRSET": Kind.REFUSED,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Rfc2136:
    account: Account
    provider: Provider

    def update(self, addresses: WanAddresses) -> Outcome:
        message = self._message(self.account.name)
        owner = f"{self.account.name}."
        for kind, address in (("A", addresses.ipv4), ("AAAA", addresses.ipv6)):
            message.delete(owner, kind)
            if address:
                message.add(owner, TTL, kind, address)
        return self._send(message)

    def set_txt(self, name: str, value: str) -> Outcome:
        message = self._message(name)
        message.add(f"{name}.", TTL, "TXT", f'"{value}"')
        return self._send(message)

    def clear_txt(self, name: str, value: str) -> Outcome:
        message = self._message(name)
        message.delete(f"{name}.", "TXT", f'"{value}"')
        return self._send(message)

    def set_alias(self, name: str, target: str) -> Outcome:
        message = self._message(name)
        message.replace(f"{name}.", TTL, "CNAME", f"{target}.")
        return self._send(message)

    def check_account(self) -> Outcome:
        """A signed question: proves server, key and zone, though not the right to change."""
        zone = self._zone(self.account.name)
        return Outcome(kind=Kind.GOOD, said=f"the server knows the key and holds {zone}")

    def _message(self, name: str) -> dns.update.UpdateMessage:
        import dns.update

        message = dns.update.UpdateMessage(self._zone(name))
        self._sign(message)
        return message

    def _zone(self, name: str) -> str:
        """The zone that holds the name: the server names it beside its SOA (RFC 2308)."""
        import dns.flags
        import dns.message
        import dns.rdatatype

        question = dns.message.make_query(f"{name}.", "SOA")
        question.flags &= ~dns.flags.RD
        self._sign(question)
        answer = self._ask(question)
        for record_set in (*answer.answer, *answer.authority):
            if record_set.rdtype == dns.rdatatype.SOA:
                return record_set.name.to_text(omit_final_dot=True)
        code = _code(answer)
        kind = Kind.NOHOST if code == "NOERROR" else KINDS.get(code, Kind.GARBLED)
        raise RefusalError(kind, f"{code}: the server holds no zone for {name}")

    def _send(self, message: dns.update.UpdateMessage) -> Outcome:
        code = _code(self._ask(message))
        if code != "NOERROR":
            raise RefusalError(KINDS.get(code, Kind.GARBLED), code)
        return Outcome(kind=Kind.GOOD, said=code)

    def _sign(self, message: dns.message.Message) -> None:
        import binascii

        import dns.exception
        import dns.tsig

        before, colon, after = self.account.username.partition(":")
        algorithm, name = (before, after) if colon else (ALGORITHMS[0], before)
        if algorithm not in ALGORITHMS:
            raise RefusalError(Kind.BADAUTH, f"{algorithm} is none of {', '.join(ALGORITHMS)}")
        try:
            key = dns.tsig.Key(name, self.account.secret, algorithm)
        except (binascii.Error, ValueError, dns.exception.DNSException):
            raise RefusalError(Kind.BADAUTH, "the key is not base64") from None
        message.use_tsig(key)

    def _ask(self, message: dns.message.Message) -> dns.message.Message:
        """Over TCP, which needs no retries. Raises RefusalError."""
        import dns.exception
        import dns.query
        import dns.tsig

        host, port = self._server()
        try:
            return dns.query.tcp(message, host, timeout=ANSWER_SECONDS, port=port)
        except dns.tsig.PeerBadTime:
            message_text = "BADTIME: its clock and ours differ by more than five minutes"
            raise RefusalError(Kind.DNSERR, message_text) from None
        except (dns.tsig.PeerError, dns.tsig.BadSignature) as error:
            raise RefusalError(Kind.BADAUTH, type(error).__name__) from None
        except (OSError, EOFError, dns.exception.Timeout) as error:
            raise RefusalError(Kind.UNREACHABLE, str(error) or type(error).__name__) from None
        except dns.exception.DNSException as error:
            raise RefusalError(Kind.GARBLED, type(error).__name__) from None

    def _server(self) -> tuple[str, int]:
        import socket
        from urllib.parse import urlsplit

        parts = urlsplit(f"//{self.account.endpoint}")
        host, port = parts.hostname or "", parts.port or PORT
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            said = f"{host!r} could not be looked up: {error.strerror}"
            raise RefusalError(Kind.UNREACHABLE, said) from None
        return str(found[0][4][0]), port


def _code(answer: dns.message.Message) -> str:
    import dns.rcode

    return dns.rcode.to_text(answer.rcode())
