"""What each way in needs: which ports, where the name leads, how the name can be proved."""

from __future__ import annotations

import socket

from appliance.errors import NetworkError
from appliance.paths import Paths
from appliance.settings import Public, Way
from services.ddns.provider import Txt
from services.ddns.providers import find_provider
from services.names import PublicNames
from services.portmap.mapper import HTTPS, PINHOLES, PORTS, Port
from services.portmap.place import Place, find_place
from services.reach import PORTMAP, PortmapResult
from services.results import load_result
from services.wan import WanAddresses, load_wan

HTTP_01, DNS_01 = "http-01", "dns-01"
FEDERATION = 8448
# Nothing comes in on port 80, from where an authority would ask.
WITHOUT_HTTP = (Way.PORT, Way.HOME)


def wanted_ports(public: Public) -> tuple[Port, ...]:
    """On the router, over IPv4."""
    if public.way is Way.PORTS:
        return PORTS
    if public.way is Way.PORT:
        listener = FEDERATION if public.port == FEDERATION else HTTPS.internal
        return (Port(external=public.port, internal=listener),)
    return ()


def wanted_pinholes(public: Public) -> tuple[Port, ...]:
    """In the router's firewall, for our IPv6 address."""
    return PINHOLES if public.way in (Way.PORTS, Way.IPV6) else ()


def is_served(public: Public | None) -> bool:
    """Whether strangers get the public listeners over IPv6; else nothing answers them there."""
    return public is not None and bool(wanted_pinholes(public))


def published(paths: Paths, public: Public, place: Place | None = None) -> WanAddresses:
    """Where the name is to lead; nothing where that is not known (yet).

    An IPv6 address whose firewall lets nobody in would make everybody who has IPv6 wait, so that
    beside IPv4 it is published only once the router has opened it.
    """
    wan = load_wan(paths)
    match public.way:
        case Way.IPV6:
            return WanAddresses(ipv6=wan.ipv6)
        case Way.HOME:
            return WanAddresses(ipv4=(place or find_place()).lan or None)
        case Way.TUNNEL:
            # Only IPv4 is handed on (services.tunnel).
            ipv4 = resolve(public.tunnel.server).ipv4 if public.tunnel else None
            return WanAddresses(ipv4=ipv4)
        case Way.PORT:
            return WanAddresses(ipv4=wan.ipv4)
        case Way.PORTS:
            found = load_result(paths, PORTMAP, PortmapResult) or PortmapResult()
            is_open = any(one.port.external == HTTPS.external for one in found.pinholes.held)
            return WanAddresses(ipv4=wan.ipv4, ipv6=wan.ipv6 if is_open else None)


def resolve(host: str) -> WanAddresses:
    """The addresses of a machine that the owner named. Raises NetworkError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        message = f"the address of {host} is not to be found: {error}"
        hint = "look whether the name is right, or take the machine's address itself"
        raise NetworkError(message, hint=hint) from error
    first: dict[int, str] = {}
    for family, _, _, _, address in found:
        first.setdefault(family, str(address[0]))
    return WanAddresses(ipv4=first.get(socket.AF_INET), ipv6=first.get(socket.AF_INET6))


def can_prove_by_dns(public: Public, names: PublicNames) -> bool:
    """Whether our account at the provider reaches a TXT record beneath every name of ours."""
    if public.ddns is None or find_provider(public.ddns.provider).txt is Txt.NONE:
        return False
    zone = public.ddns.name
    return all(name == zone or name.endswith(f".{zone}") for name in names.all)


def choose_challenge(paths: Paths, public: Public, names: PublicNames, before: str) -> str:
    """HTTP-01 where port 80 leads here, else DNS-01 where we can; once DNS-01, always DNS-01.

    A moody router does not make us change our mind: an authority counts what fails. ``before`` is
    the method of the last attempt.
    """
    if not can_prove_by_dns(public, names):
        return HTTP_01
    # The other end of a tunnel is not ours to look after: the certificate does not depend on it.
    if before == DNS_01 or public.way in (*WITHOUT_HTTP, Way.TUNNEL):
        return DNS_01
    if public.way is not Way.PORTS:
        return HTTP_01
    found = load_result(paths, PORTMAP, PortmapResult) or PortmapResult()
    lacks_http = any(one.port.external == PORTS[0].external for one in found.ports.problems)
    has_https = any(one.port.external == HTTPS.external for one in found.ports.held)
    return DNS_01 if has_https and lacks_http else HTTP_01
