"""What the authoritative servers answer: the only proof that an update has worked.

A resolver would tell what it remembers, and a provider what it intends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.deadline import Deadline
from appliance.errors import NetworkError
from services.wan import WanAddresses

if TYPE_CHECKING:
    import dns.message
    import dns.resolver

PORT = 53
ANSWER_SECONDS = 3.0
RESOLVE_SECONDS = 10.0
# For all questions until the servers are known, whichever of them is left without an answer.
FIND_SECONDS = 20.0
MAX_SERVERS = 6


@dataclass(frozen=True, kw_only=True)
class ServerAnswer:
    """One name server's records of the name; ``error`` when it gave no answer."""

    server: str
    records: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Authorities:
    """Who is asked for names in ``zone``: (name, address) of each server."""

    zone: str
    servers: tuple[tuple[str, str], ...]
    port: int = PORT


def find_authorities(
    name: str, *, resolver: dns.resolver.Resolver | None = None, port: int = PORT
) -> Authorities:
    """Raises NetworkError when DNS does not work here, or no zone holds the name."""
    import dns.exception
    import dns.resolver

    deadline = Deadline(FIND_SECONDS)
    try:
        resolver = resolver or dns.resolver.Resolver()
        resolver.lifetime = RESOLVE_SECONDS
        zone = dns.resolver.zone_for_name(
            f"{name}.", resolver=resolver, lifetime=deadline.remaining
        )
        records = resolver.resolve(zone, "NS", lifetime=_left(deadline))
        targets = sorted(str(record.target) for record in records)
        servers = _servers(resolver, targets[:MAX_SERVERS], deadline)
    except (dns.exception.DNSException, OSError) as error:
        message = f"the name servers of {name} cannot be found: {_reason(error)}"
        raise NetworkError(
            message, hint="is the Internet there, and does the name exist?"
        ) from error
    if not servers:
        message = f"none of the name servers of {zone} has an address: {', '.join(targets)}"
        raise NetworkError(message, hint="ask the domain's DNS provider")
    return Authorities(zone=zone.to_text(omit_final_dot=True), servers=tuple(servers), port=port)


def ask_addresses(name: str, authorities: Authorities) -> tuple[ServerAnswer, ...]:
    """The name's A and AAAA records, IPv4 first, as each server has them."""
    return _ask_all(
        authorities, lambda address: _records(name, ("A", "AAAA"), address, authorities)
    )


def ask_txt(name: str, authorities: Authorities) -> tuple[ServerAnswer, ...]:
    return _ask_all(authorities, lambda address: _records(name, ("TXT",), address, authorities))


def agreed(answers: Sequence[ServerAnswer]) -> WanAddresses | None:
    """What all servers that answer say; None when they differ, have several, or none answers."""
    said = {answer.records for answer in answers if not answer.error}
    if len(said) != 1:
        return None
    [records] = said
    ipv4 = [record for record in records if ":" not in record]
    ipv6 = [record for record in records if ":" in record]
    if len(ipv4) > 1 or len(ipv6) > 1:
        return None
    return WanAddresses(ipv4="".join(ipv4) or None, ipv6="".join(ipv6) or None)


def _ask_all(
    authorities: Authorities, ask: Callable[[str], tuple[str, ...]]
) -> tuple[ServerAnswer, ...]:
    import dns.exception

    def answer(server: tuple[str, str]) -> ServerAnswer:
        name, address = server
        try:
            return ServerAnswer(server=name, records=ask(address))
        except (dns.exception.DNSException, OSError, ValueError) as error:
            return ServerAnswer(server=name, error=_reason(error))

    with ThreadPoolExecutor(max_workers=MAX_SERVERS) as pool:
        return tuple(pool.map(answer, authorities.servers))


def _records(
    name: str, kinds: tuple[str, ...], address: str, authorities: Authorities
) -> tuple[str, ...]:
    import dns.rcode
    import dns.rdatatype

    found: list[str] = []
    for kind in kinds:
        answer = _query(name, kind, address, authorities.port)
        code = answer.rcode()
        if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise ValueError(dns.rcode.to_text(code))
        for record_set in answer.answer:
            if record_set.rdtype == dns.rdatatype.from_text(kind):
                found += sorted(record.to_text().strip('"') for record in record_set)
    return tuple(found)


def _query(name: str, kind: str, address: str, port: int) -> dns.message.Message:
    """UDP, and TCP when that was cut short (RFC 7766). No recursion: we want its own word."""
    import dns.flags
    import dns.message
    import dns.query

    question = dns.message.make_query(f"{name}.", kind)
    question.flags &= ~dns.flags.RD
    answer, _ = dns.query.udp_with_fallback(question, address, timeout=ANSWER_SECONDS, port=port)
    return answer


def _servers(
    resolver: dns.resolver.Resolver, names: Sequence[str], deadline: Deadline
) -> list[tuple[str, str]]:
    """(name, address) of those that have one; all are looked up at the same time."""
    with ThreadPoolExecutor(max_workers=MAX_SERVERS) as pool:
        found = pool.map(lambda name: _address(resolver, name, deadline), names)
        pairs = zip(names, found, strict=True)
        return [(name.rstrip("."), address) for name, address in pairs if address]


def _address(resolver: dns.resolver.Resolver, name: str, deadline: Deadline) -> str:
    """Empty where there is none. IPv6 only where there is no IPv4: some name servers never answer
    a question about it.
    """
    import dns.exception

    for kind in ("A", "AAAA"):
        try:
            records = [*resolver.resolve(name, kind, lifetime=_left(deadline))]
            return str(records[0].to_text())
        except dns.exception.DNSException:
            continue  # one server or family that cannot be found is no reason to give up
    return ""


def _left(deadline: Deadline) -> float:
    return min(RESOLVE_SECONDS, deadline.remaining)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
