"""What stands between this server and the world, as the jobs saw it last; nothing is asked here."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from appliance.answers import FEDERATION, HOME, PORTS, Judgement, Outside
from appliance.paths import Paths
from appliance.settings import Settings, Way
from services.names import public_names
from services.results import load_result
from services.wan import RESULT as ADDRESS

if TYPE_CHECKING:
    from services.address import Finding
    from services.reach import PortmapResult

NAME, CERTIFICATE, TUNNEL = "name", "certificate", "tunnel"
WAY_IN = "The way in through your router"
IPV6_IN = "The way in by IPv6"
HOME_ONLY = "At home only"
TUNNEL_IN = "The way in through your rented server"
HTTPS, FEDERATION_PORT = 443, 8448
ACME = "acme"  # firstboot.acme.RESULT; that module loads far more than the agent may


def outside_facts(paths: Paths, settings: Settings | None) -> tuple[Outside, ...]:
    """In the order in which they depend on each other; empty for a server of the home network."""
    if settings is None or public_names(settings) is None:
        return ()
    facts = [way_fact(paths, settings)]
    if settings.public is not None and settings.public.ddns is not None:
        facts.append(name_fact(paths, settings.public.ddns.name))
    facts.append(certificate_fact(paths, settings))
    if settings.public is not None and settings.public.way is not Way.HOME:
        facts.append(federation_fact(paths, settings.server.name))
    return tuple(facts)


def way_fact(paths: Paths, settings: Settings) -> Outside:
    """Where what comes from outside gets in."""
    assert settings.public is not None
    match settings.public.way:
        case Way.TUNNEL:
            return tunnel_fact(paths)
        case Way.IPV6:
            return ipv6_fact(paths)
        case Way.HOME:
            detail = "Nothing comes in from the Internet, as chosen."
            return Outside(name=HOME, title=HOME_ONLY, judgement=Judgement.GOOD, detail=detail)
        case Way.PORT:
            return told_by_record(ports_fact(paths, settings.public.port), settings)
        case Way.PORTS:
            return ports_fact(paths)


def ports_fact(paths: Paths, port: int = HTTPS) -> Outside:
    """Ports of a router that is itself not reachable lead nowhere: the line comes first."""
    from services.reach import PORTMAP, AddressResult, PortmapResult

    address = load_result(paths, ADDRESS, AddressResult)
    found = load_result(paths, PORTMAP, PortmapResult)
    if found is None:
        return _not_yet(PORTS, WAY_IN, "The router was not asked yet.")
    line = _line_fact(address.finding) if address else None
    return line or _router_fact(found, port)


def told_by_record(fact: Outside, settings: Settings) -> Outside:
    """Server-server API, "Resolving server names", step 4: else others would try 8448."""
    names = public_names(settings)
    if names is None or names.port == FEDERATION_PORT or fact.judgement is Judgement.BAD:
        return fact
    record = f"_matrix-fed._tcp.{names.server} SRV 10 5 {names.port} {names.homeserver}"
    return replace(
        fact,
        detail=f"{fact.detail} Other servers find it there by a record at your DNS provider: "
        f"{record}.",
    )


def ipv6_fact(paths: Paths) -> Outside:
    """The router's firewall; a line without IPv6 has nothing that it could let in."""
    from services.reach import NOT_YET, PORTMAP, PortmapResult, find_obstacle
    from services.wan import load_wan

    found = load_result(paths, PORTMAP, PortmapResult)
    address = load_wan(paths).ipv6
    if found is None:
        return _not_yet(PORTS, IPV6_IN, "The router was not asked yet.")
    if address is None:
        return Outside(
            name=PORTS,
            title=IPV6_IN,
            judgement=Judgement.BAD,
            detail="This connection has no public IPv6 address now.",
            next_step="switch IPv6 on in the router, or ask your provider for it",
        )
    obstacle = find_obstacle(found.pinholes, HTTPS)
    if obstacle is None:
        detail = f"Your router's firewall lets port 443 in for {address}."
        return Outside(name=PORTS, title=IPV6_IN, judgement=Judgement.GOOD, detail=detail)
    if obstacle is NOT_YET:
        return _not_yet(PORTS, IPV6_IN, obstacle.sentence)
    # A firewall that takes no orders may have been opened by hand, or there may be none.
    step = f"allow the TCP ports 80, 443 and 8448 for {address} in your router's IPv6 firewall"
    return _not_yet(PORTS, IPV6_IN, obstacle.sentence, step)


def _line_fact(finding: Finding) -> Outside | None:
    """None for a line that is no hindrance."""
    from services.address import Reachability

    if finding.verdict in (Reachability.OPEN, Reachability.NO_IGD):
        return None
    is_partly = finding.verdict is Reachability.IPV6_ONLY
    return Outside(
        name=PORTS,
        title=WAY_IN,
        judgement=Judgement.UNSURE if is_partly else Judgement.BAD,
        detail=finding.sentence,
        next_step=finding.next_step,
    )


def _router_fact(found: PortmapResult, port: int) -> Outside:
    """A router that opens nothing may still be forwarding by hand: unsure, not bad."""
    from services.reach import find_obstacle

    obstacle = find_obstacle(found.ports, port)
    if obstacle is not None:
        return _not_yet(PORTS, WAY_IN, obstacle.sentence, obstacle.next_step)
    detail = f"Your router forwards port {port} to this server."
    return Outside(name=PORTS, title=WAY_IN, judgement=Judgement.GOOD, detail=detail)


def tunnel_fact(paths: Paths) -> Outside:
    from services.tunnel.status import load_status

    status, now = load_status(paths), time.monotonic()
    if status is None:
        return _not_yet(TUNNEL, TUNNEL_IN, "The tunnel has not been started yet.")
    if status.is_alive(now):
        detail = f"{status.server} hands on what comes in; it answered {status.age(now):.0f} s ago."
        return Outside(name=TUNNEL, title=TUNNEL_IN, judgement=Judgement.GOOD, detail=detail)
    trouble = status.trouble(now)
    if trouble is None:
        return _not_yet(TUNNEL, TUNNEL_IN, "The rented server has not answered yet.")
    return Outside(
        name=TUNNEL,
        title=TUNNEL_IN,
        judgement=Judgement.BAD,
        detail=trouble.sentence,
        next_step=trouble.next_step,
    )


def name_fact(paths: Paths, name: str) -> Outside:
    from services.ddns.result import RESULT, DdnsResult

    title = f"The name {name}"
    found = load_result(paths, RESULT, DdnsResult)
    if found is None or found.name != name:
        return _not_yet(NAME, title, "The provider was not told our address yet.")
    if found.problem:
        detail = _sentence(found.problem)
        return Outside(
            name=NAME, title=title, judgement=Judgement.BAD, detail=detail, next_step=found.hint
        )
    if found.is_correct:
        known = " and ".join(found.wanted.known)
        return Outside(
            name=NAME, title=title, judgement=Judgement.GOOD, detail=f"It leads to {known}."
        )
    if not found.wanted.known:
        return _not_yet(NAME, title, "This connection has no address that it could lead to.")
    detail = "The provider has our address; its name servers do not tell it yet."
    return _not_yet(NAME, title, detail, "nothing to do: this takes some minutes")


def certificate_fact(paths: Paths, settings: Settings) -> Outside:
    from services.acme.contract import AcmeState

    title = "A certificate that every phone trusts"
    names = public_names(settings)
    wanted = set(names.all) if names else set()
    found = load_result(paths, ACME, AcmeState) or AcmeState()
    if wanted <= set(found.certified) and time.time() < found.ends:
        detail = f"It is there, for {' and '.join(sorted(wanted))}."
        return Outside(name=CERTIFICATE, title=title, judgement=Judgement.GOOD, detail=detail)
    if found.error:
        return Outside(
            name=CERTIFICATE,
            title=title,
            judgement=Judgement.BAD,
            detail=_sentence(found.error),
            next_step=found.hint,
        )
    return _not_yet(CERTIFICATE, title, "It was not asked for yet.")


def federation_fact(paths: Paths, name: str) -> Outside:
    """Depends on all the others, and is what they are for."""
    from services.federation.result import RESULT, FederationResult

    title = "Other servers can talk to yours"
    found = load_result(paths, RESULT, FederationResult)
    if found is None or found.name != name:
        return _not_yet(FEDERATION, title, "Nobody has looked yet.")
    return Outside(
        name=FEDERATION,
        title=title,
        judgement=found.judgement,
        detail=found.sentence,
        next_step=found.next_step,
    )


def _not_yet(
    name: str, title: str, detail: str, next_step: str = "nothing to do: it goes on by itself"
) -> Outside:
    return Outside(
        name=name, title=title, judgement=Judgement.UNSURE, detail=detail, next_step=next_step
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
