"""The recurring job: ports of the router kept open, and the address under which we are seen.

Run by hearth-portmap.service every few minutes and whenever hearth-router.service hears that the
router has come back. Leaves two results: ``portmap`` (the contract's state, for the next run) and
``address`` (the verdict with its evidence). Does nothing while the server is for the LAN only, but
to give back what an earlier choice has opened.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.deadline import WallClock
from appliance.errors import HearthError
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import Public, Way, load_settings
from firstboot.network import judge
from services.address import Facts, Kind, Reachability, kind_of
from services.ddns.result import RESULT as DDNS
from services.ddns.result import DdnsResult
from services.measure import ask_echoes
from services.moment import Moment, read_boot_id, read_moment
from services.portmap import contract
from services.portmap.causes import Cause, Refused
from services.portmap.contract import State
from services.portmap.keeper import Keeper
from services.portmap.mapper import Port
from services.portmap.place import Place, find_place
from services.portmap.search import Maker, makers, makers6
from services.reach import PORTMAP, AddressResult, PortmapResult
from services.redirect import keep_redirect
from services.results import load_result, save_result
from services.units import Units
from services.wan import RESULT as ADDRESS
from services.wan import WanAddresses
from services.ways import is_served, published, wanted_pinholes, wanted_ports

# What the services' keepers ask for: no more than one question in ten minutes (Dyn's policy), and
# none without a reason but once a day.
ECHO_PAUSE = 600.0
ECHO_LONGEST = 86400.0
DDNS_UNIT = "hearth-ddns.service"


@dataclass(frozen=True, kw_only=True)
class World:
    """What is outside; tests have their own."""

    clock: WallClock = time
    boot_id: Callable[[], str] = read_boot_id
    place: Callable[[], Place] = find_place
    ways: Callable[..., dict[str, Maker]] = makers
    ways6: Callable[[Place], dict[str, Maker]] = makers6
    redirect: Callable[..., None] = keep_redirect


def keep_ports(
    paths: Paths, units: Units, *, urgent: bool = False, world: World | None = None
) -> int:
    """One run of the job; the exit code."""
    world = world or World()
    # Taken first: what is heard while this runs is for the next run.
    urgent = paths.router_news.exists() or urgent
    paths.router_news.unlink(missing_ok=True)
    before = load_result(paths, PORTMAP, PortmapResult) or PortmapResult()
    settings = load_settings(paths.settings)
    place = world.place()
    if settings is None or settings.public is None:
        return give_back(paths, before, place, world)
    found_before = before
    before = give_back_unwanted(before, settings.public, place, world)
    ports, pinholes = open_wanted(before, settings.public, place, world, urgent=urgent)
    after = PortmapResult(ports=ports, pinholes=pinholes)
    if is_news(found_before, after):
        save_result(paths, PORTMAP, after)
    facts = make_facts(place, ports, settings.public.port)
    now = read_moment(world.clock, world.boot_id)
    found = note_address(paths, facts, place, now, follows=bool(wanted_ports(settings.public)))
    if settings.public.way is Way.TUNNEL:
        from firstboot.tunnel_verbs import forget_foreign_key

        forget_foreign_key(paths, settings)
    if is_name_behind(paths, settings.public, place):
        logger.info("a new address: the name is to follow")
        units.start(DDNS_UNIT, wait=False)
    logger.info("%s: open are %s", found.finding.verdict.value, name_open(ports, pinholes))
    return 0 if is_enough(settings.public, ports, pinholes) else 1


def open_wanted(
    before: PortmapResult, public: Public, place: Place, world: World, *, urgent: bool
) -> tuple[State, State]:
    """Ports over IPv4 and pinholes over IPv6, as the way in needs them."""
    boot = world.boot_id()
    ports, pinholes = before.ports, before.pinholes
    if wanted := wanted_ports(public):
        facts = contract.Facts(
            boot=boot, lan=place.lan, gateway=place.gateway, wanted=wanted, urgent=urgent
        )
        ports = Keeper(world.ways(place, former=ports.former), world.clock).run(ports, facts)
    # Rules first: through a pinhole the pages would be seen from outside.
    unguarded = guard(world, is_served=is_served(public))
    if wanted := wanted_pinholes(public):
        facts = contract.Facts(boot=boot, lan=place.ipv6, gateway=place.gateway6, wanted=wanted)
        keeper = Keeper(world.ways6(place), world.clock)
        if unguarded:
            refused = Refused(Cause.UNGUARDED, unguarded)
            pinholes = contract.refused_all(keeper.release(pinholes), wanted, refused)
        else:
            pinholes = keeper.run(pinholes, facts)
    return ports, pinholes


def guard(world: World, *, is_served: bool) -> str:
    """Rules for strangers over IPv6; what went wrong, and then IPv4 goes on without them."""
    try:
        world.redirect(wanted=is_served)
    except HearthError as error:
        logger.warning("the rules for IPv6 could not be set: %s", error.message)
        return error.message
    return ""


def is_name_behind(paths: Paths, public: Public, place: Place) -> bool:
    """Whether the job that looks after the name has not seen where it is to lead now."""
    if public.ddns is None or public.way is Way.TUNNEL:
        return False
    wanted = published(paths, public, place)
    told = load_result(paths, DDNS, DdnsResult)
    return bool(wanted.known) and (told is None or told.wanted != wanted)


def name_open(ports: State, pinholes: State) -> str:
    names = [str(one.port.external) for one in ports.held]
    names += [f"{one.port.external} (IPv6)" for one in pinholes.held]
    return ", ".join(names) or "none"


def is_enough(public: Public, ports: State, pinholes: State) -> bool:
    """The one port that everything needs; the others are a comfort."""
    if public.way in (Way.TUNNEL, Way.HOME):
        return True
    held = pinholes.held if public.way is Way.IPV6 else ports.held
    return any(one.port.external == public.port for one in held)


def give_back_unwanted(
    before: PortmapResult, public: Public, place: Place, world: World
) -> PortmapResult:
    """What the owner's choice of another way in leaves over, or the router kept from before."""
    ports, pinholes = before.ports, before.pinholes
    if holds_more(ports, wanted := wanted_ports(public)):
        keeper = Keeper(world.ways(place, former=ports.former), world.clock)
        ports = keeper.release(ports, keep=wanted)
    if holds_more(pinholes, wanted := wanted_pinholes(public)):
        pinholes = Keeper(world.ways6(place), world.clock).release(pinholes, keep=wanted)
    return PortmapResult(ports=ports, pinholes=pinholes)


def holds_more(state: State, wanted: tuple[Port, ...]) -> bool:
    return not {*(one.port for one in state.held), *contract.lasting(state)} <= {*wanted}


def give_back(paths: Paths, before: PortmapResult, place: Place, world: World) -> int:
    """Close what we have opened: the server is for the LAN only, or about to be reset."""
    ports, pinholes = before.ports, before.pinholes
    if holds_more(ports, ()):
        ports = Keeper(world.ways(place, former=ports.former), world.clock).release(ports)
    if holds_more(pinholes, ()):
        pinholes = Keeper(world.ways6(place), world.clock).release(pinholes)
    guard(world, is_served=False)
    after = PortmapResult(ports=ports, pinholes=pinholes)
    if is_news(before, after):
        save_result(paths, PORTMAP, after)
    return 0


def is_news(before: PortmapResult, after: PortmapResult) -> bool:
    return contract.is_news(before.ports, after.ports) or contract.is_news(
        before.pinholes, after.pinholes
    )


def release_ports(paths: Paths) -> int:
    """``hearthctl portmap --release``: for a reset."""
    before = load_result(paths, PORTMAP, PortmapResult) or PortmapResult()
    return give_back(paths, before, find_place(), World())


def note_address(
    paths: Paths, facts: Facts, place: Place, now: Moment, *, follows: bool
) -> AddressResult:
    """Judge with what the echo services said last, asking them only when there is a reason.

    ``follows``: the name has to follow our address of IPv4.
    """
    known = load_result(paths, ADDRESS, AddressResult)
    before = known and by_this_clock(known, now)
    if before is None or is_echo_due(before, facts, now.date, follows=follows):
        echoes, echoes6 = ask_echoes(place)
        result = judge(replace(facts, echoes=echoes, echoes6=echoes6), now=now.date)
        result = replace(result, noted=now)
    elif before.router_wan != facts.router_wan and was_confirmed(before, facts.router_wan):
        result = meanwhile(before, facts.router_wan, place.ipv6)
    else:
        last = replace(facts, echoes=before.echoes, echoes6=before.echoes6)
        result = replace(
            judge(last, now=now.date),
            asked=before.asked,
            router_wan=before.router_wan,
            noted=before.noted,
        )
    # Every write wears the card; the same result again is none.
    if result != known:
        save_result(paths, ADDRESS, result)
    return result


def by_this_clock(result: AddressResult, now: Moment) -> AddressResult:
    """The result with its date by the clock of ``now``, which may have been set since."""
    jump = result.noted.jump(now)
    asked = min(result.asked + jump, now.date)
    # Of another boot it is not known how long that is ago: it counts from now on as if just asked.
    if not jump and asked == result.asked:
        return result
    return replace(result, asked=asked, noted=now)


def was_confirmed(before: AddressResult, router_wan: str) -> bool:
    """Whether this router told the truth before, and tells a public address now."""
    return before.finding.verdict is Reachability.OPEN and kind_of(router_wan) is Kind.PUBLIC


def meanwhile(before: AddressResult, router_wan: str, ipv6: str) -> AddressResult:
    """A new address from a router that was right before, while the services may not be asked."""
    line = f"the router has the new address {router_wan}; others are asked about it in a while"
    return replace(
        before,
        finding=replace(before.finding, evidence=(line,)),
        wan=WanAddresses(ipv4=router_wan, ipv6=ipv6 or None),
    )


def is_echo_due(before: AddressResult, facts: Facts, now: float, *, follows: bool) -> bool:
    """Never twice in ten minutes; and without a reason only once a day.

    ``follows``: somebody would do something with a new address of IPv4.
    """
    age = now - before.asked
    if age < ECHO_PAUSE:
        return False
    is_new = facts.router_wan != before.router_wan or (facts.ipv6 or None) != before.wan.ipv6
    # Without a word from the router only the services can tell that the address is a new one.
    is_blind = not facts.router_wan or before.finding.verdict is not Reachability.OPEN
    return is_new or (is_blind and follows) or age >= ECHO_LONGEST


def make_facts(place: Place, ports: State, port: int) -> Facts:
    """What the router showed; the echo services come to it."""
    refusals = {one.port.external: one.cause for one in ports.problems}
    return Facts(
        lan=place.lan,
        gateway=place.gateway,
        protocol=ports.spoke,
        router_wan=ports.address,
        refusal=refusals.get(port),
        is_mapped=bool(ports.held),
        ipv6=place.ipv6,
    )
