"""When other servers are told that we are back: pure decisions, with the clock passed in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from appliance.answers import Judgement
from appliance.errors import NetworkError
from appliance.paths import Paths
from appliance.settings import Settings
from firstboot.outside import certificate_fact
from services.address import Reachability
from services.ddns.result import RESULT as DDNS
from services.ddns.result import DdnsResult
from services.moment import read_boot_id
from services.reach import AddressResult
from services.results import load_result
from services.wan import RESULT as ADDRESS
from services.ways import published

HOUR = 3600.0
DAY = 24 * HOUR
# Reboots in a row are one return, however many; and a restless line is not everybody's business.
PAUSE = HOUR
ROUNDS_A_DAY = 4
# Resolvers out there may remember our old address for its time to live (services.ddns.provider).
SETTLE_SECONDS = 90.0


class Act(StrEnum):
    """``note``: remember that we are cut off, so that the way back counts as a return."""

    REST = "rest"
    NOTE = "note"
    WAIT = "wait"
    CALL = "call"


@dataclass(frozen=True, kw_only=True)
class WakeupResult:
    """The last round, and what the next one needs to know. Times are seconds since the epoch.

    ``boot`` and ``addresses`` are those that others have been told of; ``rounds`` the beginnings of
    the last day's.
    """

    boot: str = ""
    addresses: tuple[str, ...] = ()
    was_offline: bool = False
    rounds: tuple[float, ...] = ()
    found: int = 0
    woken: int = 0
    refused: int = 0
    silent: int = 0
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """``missing`` says what others would stumble over if they called back now."""

    boot: str
    addresses: tuple[str, ...]
    is_offline: bool = False
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``until`` is when waiting may be over, 0 where nobody knows."""

    act: Act
    why: str
    until: float = 0.0


def plan(memory: WakeupResult, facts: Facts, now: float, *, wanted: bool = False) -> Plan:
    """``wanted``: the owner says so; only then nothing but the calls themselves has a limit."""
    if wanted:
        return Plan(act=Act.CALL, why="Called by hand.")
    if facts.is_offline:
        if memory.was_offline:
            return Plan(act=Act.WAIT, why="The Internet cannot be reached from here.")
        return Plan(act=Act.NOTE, why="The Internet cannot be reached: the return will be told.")
    reason = _news(memory, facts)
    if not reason:
        return Plan(act=Act.REST, why="Everybody has been told already.")
    if facts.missing:
        return Plan(act=Act.WAIT, why=f"{reason} But not yet: {facts.missing}.")
    rounds = _recent(memory, now)
    if rounds and now - rounds[-1] < PAUSE:
        why = f"{reason} But others were called less than an hour ago."
        return Plan(act=Act.WAIT, why=why, until=rounds[-1] + PAUSE)
    if len(rounds) >= ROUNDS_A_DAY:
        why = f"{reason} But others were called {len(rounds)} times within a day."
        return Plan(act=Act.WAIT, why=why, until=rounds[0] + DAY)
    return Plan(act=Act.CALL, why=reason)


def remember(memory: WakeupResult, facts: Facts, now: float) -> WakeupResult:
    """What the results shall say from the moment on in which a round begins."""
    return replace(
        memory,
        boot=facts.boot,
        addresses=facts.addresses,
        was_offline=False,
        rounds=(*_recent(memory, now), now)[-ROUNDS_A_DAY:],
        found=0,
        woken=0,
        refused=0,
        silent=0,
        error="",
    )


def with_clock(memory: WakeupResult, now: float) -> WakeupResult:
    """Without times in the future: the clock was set back, and those rounds count from now."""
    return replace(memory, rounds=tuple(min(one, now) for one in memory.rounds))


def find_facts(paths: Paths, settings: Settings, now: float) -> Facts:
    """What the other jobs know."""
    public = settings.public
    assert public is not None
    try:
        addresses = published(paths, public).known
    except NetworkError:
        addresses = ()
    found = load_result(paths, ADDRESS, AddressResult)
    return Facts(
        boot=read_boot_id(),
        addresses=addresses,
        is_offline=found is not None and found.finding.verdict is Reachability.OFFLINE,
        missing=_missing(paths, settings, addresses, now),
    )


def _missing(paths: Paths, settings: Settings, addresses: tuple[str, ...], now: float) -> str:
    public = settings.public
    assert public is not None
    if certificate_fact(paths, settings).judgement is not Judgement.GOOD:
        return "there is no certificate that others accept"
    if public.ddns is None:
        return ""
    name = load_result(paths, DDNS, DdnsResult)
    if name is None or not name.is_correct or not addresses or name.wanted.known != addresses:
        return "the name does not lead here yet"
    is_settled = not 0 <= now - name.answered_at < SETTLE_SECONDS
    return "" if is_settled else "the name has only just been changed"


def _news(memory: WakeupResult, facts: Facts) -> str:
    if memory.boot != facts.boot:
        return "The appliance has started."
    if facts.addresses and memory.addresses != facts.addresses:
        return "The appliance has a new address."
    return "The Internet is back." if memory.was_offline else ""


def _recent(memory: WakeupResult, now: float) -> tuple[float, ...]:
    return tuple(one for one in memory.rounds if now - one < DAY)
