"""When to ask the router for what: pure, with the time passed in, so that a week can be simulated.

One-hour leases renewed at half time. Everything anew when our address, the router or its count of
seconds is another one; single ports anew when the router's table has lost them. Where nothing can
be had the pauses grow. The router is looked at once a run, and asked for nothing that is not due.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from services.portmap.causes import Cause, Refused
from services.portmap.mapper import LEASE_SECONDS, Entry, Granted, Port

FIRST_PAUSE = 300.0
LONGEST_PAUSE = 3600.0
SLACK_SECONDS = 2
MAX_FORMER = 4
# The only protocol that has mappings without an end.
LASTING = "igd"
FIRST_FREE_PORT = 1024  # below are the well-known ports (RFC 6335 section 6)


class Step(StrEnum):
    """What to do now."""

    REST = "rest"
    SEARCH = "search"
    LOOK = "look"
    MAP = "map"


@dataclass(frozen=True, kw_only=True)
class Held:
    """A port that the router forwards to us, since ``renewed`` (our monotonic clock)."""

    port: Port
    lease: int
    renewed: float
    listed: bool = False

    @property
    def due(self) -> float:
        """Half time. A longer lease than asked for is no promise that many routers keep."""
        return self.renewed + min(self.lease or LEASE_SECONDS, LEASE_SECONDS) / 2


@dataclass(frozen=True, kw_only=True)
class Problem:
    port: Port
    cause: Cause
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class State:
    """What one run leaves for the next. Times count only within the same ``boot`` of ours.

    ``protocol`` is the one in use; ``spoke`` the one that answered last, be it with a refusal.
    ``left`` is what we have opened for good and not closed, whether the router answers or not: it
    would lead to this address for ever, whoever has it then.
    """

    protocol: str = ""
    spoke: str = ""
    boot: str = ""
    lan: str = ""
    gateway: str = ""
    former: tuple[str, ...] = ()
    epoch: int | None = None
    address: str = ""
    seen: float = 0.0
    held: tuple[Held, ...] = ()
    left: tuple[Port, ...] = ()
    problems: tuple[Problem, ...] = ()
    failures: int = 0
    retry: float = 0.0
    requests: int = 0


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the router showed: its count of seconds, its outside, and its table if it has one.

    ``heard`` is when it told its seconds (our monotonic clock); reading the table takes a while.
    """

    heard: float = 0.0
    epoch: int | None = None
    address: str | None = None
    entries: tuple[Entry, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """``urgent``: the router has announced itself, or the owner asks; pauses do not count."""

    boot: str
    lan: str
    gateway: str
    wanted: tuple[Port, ...]
    urgent: bool = False
    look: Look | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    step: Step
    reason: str
    ports: tuple[Port, ...] = ()


def plan(state: State, facts: Facts, now: float) -> Plan:
    """The next step; after SEARCH or LOOK ask again with what was found."""
    if not facts.gateway or not facts.lan:
        return Plan(step=Step.REST, reason="there is no router on this network")
    if (state.boot, state.lan, state.gateway) != (facts.boot, facts.lan, facts.gateway):
        return Plan(step=Step.SEARCH, reason="our address or the router is another one")
    is_pausing = now < state.retry and not facts.urgent
    if not state.held and is_pausing:
        return Plan(step=Step.REST, reason="the router could not help; waiting before the next try")
    if not state.protocol:
        return Plan(step=Step.SEARCH, reason="no way to open ports is known yet")
    if facts.look is None:
        return Plan(step=Step.LOOK, reason="whether the router still has what it granted")
    return _judge(state, facts, facts.look, now, is_pausing=is_pausing)


def _judge(state: State, facts: Facts, look: Look, now: float, *, is_pausing: bool) -> Plan:
    if is_restarted(state, look) and not _proves_itself(state, look):
        return Plan(step=Step.MAP, reason="the router has restarted", ports=facts.wanted)
    held = {one.port: one for one in state.held}
    lost = tuple(
        port for port in facts.wanted if port in held and _is_lost(held[port], look, facts)
    )
    if lost:
        return Plan(step=Step.MAP, reason="the router's table has lost them", ports=lost)
    due = tuple(port for port in facts.wanted if port in held and now >= held[port].due)
    missing = () if is_pausing else tuple(port for port in facts.wanted if port not in held)
    # A permanent mapping needs no renewal while the table shows it.
    due = tuple(port for port in due if held[port].lease or not held[port].listed)
    if due or missing:
        reason = "half of the lease has passed" if due else "they are not open yet"
        return Plan(step=Step.MAP, reason=reason, ports=due + missing)
    return Plan(step=Step.REST, reason="everything is mapped and nothing is due")


def is_restarted(state: State, look: Look) -> bool:
    """Whether the router's seconds do not go on from where they were."""
    if look.epoch is None or state.epoch is None:
        return False
    return is_another_life(look.heard - state.seen, look.epoch - state.epoch)


def is_another_life(ours: float, theirs: float) -> bool:
    """Whether ``theirs`` seconds cannot have passed in ``ours`` (RFC 6887 section 8.5)."""
    if theirs < -1:
        return True
    too_fast = ours + SLACK_SECONDS < theirs - theirs / 16
    too_slow = theirs + SLACK_SECONDS < ours - ours / 16
    return too_fast or too_slow


def _proves_itself(state: State, look: Look) -> bool:
    """A table that can be read tells more than an uptime, which some routers invent."""
    return look.entries is not None and all(one.listed for one in state.held)


def _is_lost(held: Held, look: Look, facts: Facts) -> bool:
    if look.entries is None or not held.listed:
        return False
    wanted = (held.port.external, facts.lan, held.port.internal)
    return wanted not in {(entry.external, entry.client, entry.internal) for entry in look.entries}


def moved(state: State, facts: Facts) -> State:
    """The state at a new address, router or boot: nothing is held there yet."""
    former = tuple(dict.fromkeys((state.lan, *state.former)))
    return State(
        boot=facts.boot,
        lan=facts.lan,
        gateway=facts.gateway,
        former=tuple(one for one in former if one and one != facts.lan)[:MAX_FORMER],
        left=state.left,
        requests=state.requests,
    )


def looked(state: State, look: Look, now: float) -> State:
    """The state after a look; what is held for good counts as renewed where the table shows it."""
    held = tuple(
        replace(one, renewed=now) if one.listed and not one.lease else one for one in state.held
    )
    address = look.address or state.address
    return replace(state, epoch=look.epoch, address=address, seen=look.heard, held=held)


def expired(state: State, now: float) -> State:
    """Without leases that have run out because the router did not answer any more."""
    held = tuple(one for one in state.held if now < one.renewed + (one.lease or LEASE_SECONDS))
    return replace(state, held=held)


def mapped(state: State, port: Port, answer: Granted | Refused, now: float) -> State:
    """The state after the router's answer about one port."""
    held = tuple(one for one in state.held if one.port != port)
    problems = tuple(one for one in state.problems if one.port != port)
    if isinstance(answer, Refused):
        problem = Problem(port=port, cause=answer.cause, said=answer.said)
        # RFC 6887 section 7.4 has half an hour for errors that last. A router is not believed that
        # wants to be left alone for years.
        retry = max(state.retry, now + min(answer.retry_seconds, LONGEST_PAUSE))
        # A lease that could not be renewed may still run; it is tried again all the same.
        return replace(state, held=held, problems=(*problems, problem), retry=retry)
    one = Held(port=port, lease=answer.lease, renewed=now, listed=answer.listed)
    left = tuple(one for one in state.left if one != port)
    if not answer.lease and state.protocol == LASTING:
        left = (*left, port)
    address = answer.address or state.address
    return replace(state, held=(*held, one), left=left, problems=problems, address=address)


def lasting(state: State) -> tuple[Port, ...]:
    """What stays open at the router until somebody closes it."""
    held = (one.port for one in state.held if not one.lease)
    return tuple(dict.fromkeys((*state.left, *held)))


def released(state: State, given: Collection[Port], keep: Collection[Port]) -> State:
    """After ``given`` were closed, with only ``keep`` still wanted.

    What has a lease the router forgets within the hour.
    """
    left = tuple(port for port in lasting(state) if port in keep or port not in given)
    held = tuple(one for one in state.held if one.port in keep)
    if held:
        problems = tuple(one for one in state.problems if one.port in keep)
        return replace(state, held=held, left=left, problems=problems)
    return State(
        boot=state.boot,
        lan=state.lan,
        gateway=state.gateway,
        former=state.former,
        left=left,
        requests=state.requests,
    )


def refused_all(state: State, ports: Collection[Port], refused: Refused) -> State:
    """Nobody was asked for ``ports``."""
    problems = (Problem(port=port, cause=refused.cause, said=refused.said) for port in ports)
    return replace(state, problems=tuple(problems))


def is_news(before: State, after: State) -> bool:
    """Whether ``after`` is worth a write: a look that found everything in order wears no card.

    The next look is then compared with an older one, which is just as good.
    """
    same = replace(after, epoch=before.epoch, seen=before.seen, requests=before.requests)
    return same != before


def explain_low_ports(state: State) -> State:
    """All below 1024 refused and one above granted: that is a rule of the router's.

    PCP and NAT-PMP say "taken" for "forbidden" too; UPnP names the other holder, and then it is
    not this. An own address from before is a better reason.
    """
    unclear = (Cause.UNAUTHORIZED, Cause.FAILED, Cause.CONFLICT)
    low = [one for one in state.problems if one.port.external < FIRST_FREE_PORT]
    is_rule = (
        len(low) > 1
        and len(low) == len(state.problems)
        and bool(state.held)
        and all(one.port.external >= FIRST_FREE_PORT for one in state.held)
        and all(one.cause in unclear and "belongs to" not in one.said for one in low)
    )
    if not is_rule:
        return state
    return replace(state, problems=tuple(replace(one, cause=Cause.LOW_PORT) for one in low))


def paused(state: State, now: float) -> State:
    """After a run: the next try of what could not be had, later each time."""
    if not state.problems and state.held:
        return replace(state, failures=0, retry=0.0)
    if now < state.retry and state.failures:
        return state  # this run has tried nothing anew
    pause = min(FIRST_PAUSE * 2**state.failures, LONGEST_PAUSE)
    return replace(state, failures=state.failures + 1, retry=max(state.retry, now + pause))
