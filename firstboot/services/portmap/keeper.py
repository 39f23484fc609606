"""One run: does what the plan says, with the router's answers, and returns the state after it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from appliance.deadline import Clock
from appliance.log import logger
from services.portmap.causes import Cause, Refused
from services.portmap.contract import (
    LASTING,
    Facts,
    Look,
    Plan,
    State,
    Step,
    expired,
    explain_low_ports,
    lasting,
    looked,
    mapped,
    moved,
    paused,
    plan,
    refused_all,
    released,
)
from services.portmap.mapper import LEASE_SECONDS, Mapper, Port
from services.portmap.search import Found, Maker, search, try_one

NATPMP = "nat-pmp"


class Keeper:
    """Keeps ``facts.wanted`` open by one of ``ways``, in their order."""

    def __init__(self, ways: Mapping[str, Maker], clock: Clock) -> None:
        self._ways = ways
        self._clock = clock
        self._mappers: list[Mapper] = []

    def run(self, state: State, facts: Facts) -> State:
        """A whole run; never raises Refused: refusals are part of the state."""
        state = expired(state, self._clock.monotonic())
        try:
            state = self._run(state, facts)
        finally:
            requests = sum(mapper.requests for mapper in self._mappers)
            for mapper in self._mappers:
                mapper.close()
            self._mappers.clear()
        return replace(state, requests=state.requests + requests)

    def release(self, state: State, keep: Collection[Port] = ()) -> State:
        """Give back all but ``keep``; what stays for good and was not taken back is remembered."""
        for_good = set(lasting(state)) - set(keep)
        leased = {one.port for one in state.held} - for_good - set(keep)
        # After a silence it is not known any more by which way they were opened.
        ways = (state.protocol,) if state.protocol in self._ways else tuple(self._ways)
        for way in ways if leased else ():
            self._unmap(way, leased)
        return released(state, self._unmap(LASTING, for_good) if for_good else (), keep)

    def _unmap(self, way: str, ports: Collection[Port]) -> tuple[Port, ...]:
        """Those that are closed now."""
        given: list[Port] = []
        if way not in self._ways:
            return ()
        try:
            mapper = self._ways[way]()
        except Refused as error:
            logger.warning("the router cannot be asked by %s: %s", way, error)
            return ()
        try:
            for port in sorted(ports):
                try:
                    mapper.unmap(port)
                    given.append(port)
                except Refused as error:
                    logger.warning("the router did not take back %d: %s", port.external, error)
                    if error.cause is Cause.SILENT:
                        break  # it would be waited for again
        finally:
            mapper.close()
        return tuple(given)

    def _run(self, state: State, facts: Facts) -> State:
        while True:
            step = plan(state, facts, self._clock.monotonic())
            logger.debug("%s: %s", step.step, step.reason)
            match step.step:
                case Step.REST:
                    return self._rest(state, facts)
                case Step.SEARCH:
                    state, facts = self._search(state, facts)
                case Step.LOOK:
                    state, facts = self._look(state, facts)
                case Step.MAP:
                    logger.info("mapping ports: %s", step.reason)
                    return self._map(state, facts, step)
            if facts.look is None:
                return paused(state, self._clock.monotonic())

    def _rest(self, state: State, facts: Facts) -> State:
        if facts.look is None:
            return state
        now = self._clock.monotonic()
        held = {one.port for one in state.held}
        # The router answers: what it was silent about before is no problem any more.
        problems = tuple(one for one in state.problems if one.port not in held)
        state = replace(state, problems=problems, spoke=state.protocol)
        return paused(looked(state, facts.look, now), now)

    def _search(self, state: State, facts: Facts) -> tuple[State, Facts]:
        if (state.boot, state.lan, state.gateway) != (facts.boot, facts.lan, facts.gateway):
            state = moved(state, facts)
        found = search(dict(self._ways), self._clock.monotonic)
        self._mappers = [one.mapper for one in found if one.mapper is not None]
        asked = sum(one.requests for one in found)
        state = replace(state, requests=state.requests + asked)
        for one in found:
            if one.mapper is not None and one.sign is not None:
                state = replace(state, protocol=one.name)
                address = next((f.sign.address for f in found if f.sign and f.sign.address), None)
                return state, self._judge(state, facts, one, address)
        refusals = [one.refused for one in found if one.refused is not None]
        return _silent(state, facts, _telling(refusals)), facts

    def _look(self, state: State, facts: Facts) -> tuple[State, Facts]:
        found = try_one(state.protocol, self._ways[state.protocol], self._clock.monotonic)
        if found.mapper is None or found.sign is None:
            state = replace(state, requests=state.requests + found.requests)
            return _silent(state, facts, found.refused or Refused(Cause.SILENT)), facts
        self._mappers = [found.mapper]
        address = found.sign.address
        if address is None and facts.urgent:
            address = self._ask_natpmp()
        return state, self._judge(state, facts, found, address)

    def _ask_natpmp(self) -> str | None:
        """PCP tells an address only with a mapping, and not all routers count anew with a new one
        (RFC 6887 sections 8.5, 11.6); most speak NAT-PMP beside it, which tells it for a packet.
        """
        if NATPMP not in self._ways:
            return None
        found = try_one(NATPMP, self._ways[NATPMP])
        if found.mapper is None or found.sign is None:
            return None
        self._mappers.append(found.mapper)  # counted and closed with the others
        return found.sign.address

    def _judge(self, state: State, facts: Facts, found: Found, address: str | None) -> Facts:
        assert found.mapper is not None
        assert found.sign is not None
        held = tuple(one.port for one in state.held if one.listed)
        try:
            entries = found.mapper.holders(held) if held else None
        except Refused as error:
            logger.debug("the router does not show its table: %s", error)
            entries = None
        epoch = found.sign.epoch
        look = Look(heard=found.heard, epoch=epoch, address=address, entries=entries)
        return replace(facts, look=look)

    def _map(self, state: State, facts: Facts, step: Plan) -> State:
        assert facts.look is not None
        # One protocol may refuse what another grants; the best that grants anything is kept.
        for mapper in self._mappers:
            # Each protocol has its own count of seconds; the look was at the first.
            look = facts.look if mapper is self._mappers[0] else replace(facts.look, epoch=None)
            state = replace(state, protocol=mapper.name, spoke=mapper.name)
            state = looked(state, look, self._clock.monotonic())
            for port in step.ports:
                state = self._map_one(state, mapper, port)
            if state.held:
                break
        state = explain_low_ports(state)
        if not state.held:
            state = replace(state, protocol="")
        return paused(state, self._clock.monotonic())

    def _map_one(self, state: State, mapper: Mapper, port: Port) -> State:
        try:
            granted = mapper.map(port, LEASE_SECONDS)
        except Refused as error:
            logger.warning("port %d by %s: %s", port.external, mapper.name, error)
            return mapped(state, port, error, self._clock.monotonic())
        return mapped(state, port, granted, self._clock.monotonic())


def _silent(state: State, facts: Facts, refused: Refused) -> State:
    """Nobody answered: search anew next time. What is held may still stand until its lease ends."""
    state = replace(state, protocol="", spoke="", address="")
    return refused_all(state, facts.wanted, refused)


def _telling(refusals: list[Refused]) -> Refused:
    """The refusal that says most: silence and ignorance say least."""
    dull = (Cause.SILENT, Cause.UNSUPPORTED)
    telling = [one for one in refusals if one.cause not in dull]
    return next(iter([*telling, *refusals]), Refused(Cause.SILENT))
