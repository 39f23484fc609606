"""Can other servers talk to ours? Run by hearth-federation.timer, by the page and by hand.

Looks at our own door and, through the public federation tester, from outside. When that is asked
is decided by services.federation.tester; what it said is remembered over reboots.
"""

from __future__ import annotations

import fcntl
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.answers import Judgement
from appliance.errors import NetworkError
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import Settings, Way, load_settings
from appliance.tables import to_table
from firstboot.outside import ACME, certificate_fact
from services.acme.contract import AcmeState
from services.federation.advice import explain
from services.federation.fetch import Web
from services.federation.foreign import look_at
from services.federation.inside import Eyes, look_inside, make_eyes
from services.federation.judge import Facts, judge
from services.federation.parts import list_parts
from services.federation.result import MEMORY, RESULT, FederationResult
from services.federation.strangers import strangers_only
from services.federation.tester import (
    DAY,
    MINUTE,
    Answer,
    Memory,
    ask_tester,
    begin,
    conclude,
    may_ask,
    valid_answer,
    with_clock,
)
from services.names import PublicNames, public_names
from services.reach import PORTMAP, PortmapResult
from services.results import load_result, save_result
from services.ways import published, wanted_pinholes, wanted_ports

# When to look again, from the inside: that costs nobody anything.
PAUSES = {
    Judgement.GOOD: DAY,
    Judgement.UNSURE: 60 * MINUTE,
    Judgement.BAD: 15 * MINUTE,
}


@dataclass(frozen=True, kw_only=True)
class Outdoors:
    """What is looked with and who is asked; tests have their own."""

    eyes: Callable[[], Eyes] = make_eyes
    ask: Callable[[str], Answer] = ask_tester


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``look``: measure at all; ``ask``: put a question to the tester as well."""

    look: bool
    ask: bool


def plan(
    last: FederationResult | None,
    memory: Memory,
    news: tuple[str, ...],
    now: float,
    *,
    wanted: bool,
) -> Plan:
    """``wanted``: the owner wants to know now. Nothing to do is the rule, not the exception."""
    ask = may_ask(memory, now, news, wanted=wanted)
    if wanted or ask or last is None or last.news != news:
        return Plan(look=True, ask=ask)
    age = now - last.at
    return Plan(look=not 0 <= age < PAUSES[last.judgement], ask=False)


def wants_check(settings: Settings | None) -> bool:
    """Whether other servers are meant to reach this one at all."""
    return settings is not None and settings.public is not None and not is_home_only(settings)


def is_home_only(settings: Settings) -> bool:
    return settings.public is not None and settings.public.way is Way.HOME


def check_own(
    paths: Paths, now: float, *, wanted: bool, save: bool, outdoors: Outdoors | None = None
) -> FederationResult | None:
    """Look if it is due (or ``wanted``), and say what was found; the last finding otherwise.

    None where no other server is meant to reach this one.
    """
    settings = load_settings(paths.settings)
    names = public_names(settings) if settings else None
    if settings is None or names is None or not wants_check(settings):
        return None
    outdoors = outdoors or Outdoors()
    paths.runtime.mkdir(parents=True, exist_ok=True)
    with (paths.runtime / "federation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        last = load_result(paths, RESULT, FederationResult)
        if last is not None and last.name != names.server:
            last = None
        memory = with_clock(load_result(paths, MEMORY, Memory) or Memory(), now)
        facts = find_facts(paths, settings)
        news = find_news(paths, names, facts)
        step = plan(last, memory, news, now, wanted=wanted)
        if not step.look:
            return last
        if step.ask:
            memory = ask_outside(paths, names.server, memory, now, news, outdoors.ask)
        result = examine(names, facts, memory, now, news, outdoors.eyes())
        if save:
            save_result(paths, RESULT, result)
    logger.info("%s: %s", result.cause.value, result.sentence)
    return result


def ask_outside(
    paths: Paths,
    name: str,
    memory: Memory,
    now: float,
    news: tuple[str, ...],
    ask: Callable[[str], Answer],
) -> Memory:
    """One question. It counts before it is asked, and whatever comes of it."""
    memory = begin(memory, now, news)
    save_result(paths, MEMORY, memory)
    try:
        memory = conclude(memory, now, ask(name))
    except NetworkError as error:
        logger.info("%s", error.message)
        memory = replace(memory, error=error.message)
    save_result(paths, MEMORY, memory)
    return memory


def examine(
    names: PublicNames, facts: Facts, memory: Memory, now: float, news: tuple[str, ...], eyes: Eyes
) -> FederationResult:
    answer = valid_answer(memory, now, news)
    inside = look_inside(eyes, names, now=now)
    cause = judge(inside, answer, facts)
    explanation = explain(cause, facts.public)
    return FederationResult(
        name=names.server,
        at=now,
        judgement=explanation.judgement,
        cause=cause,
        sentence=explanation.sentence,
        next_step=explanation.next_step,
        seen_from_outside=answer is not None,
        asked=memory.asked,
        news=news,
        parts=list_parts(inside, memory, answer, is_certified=facts.is_certified),
    )


def find_facts(paths: Paths, settings: Settings) -> Facts:
    """What the other jobs know."""
    public = settings.public
    assert public is not None
    try:
        ours = published(paths, public).known
    except NetworkError:
        ours = ()  # the tunnel's other end has no address just now
    found = load_result(paths, PORTMAP, PortmapResult) or PortmapResult()
    wanted = {*wanted_ports(public), *wanted_pinholes(public)}
    held = (*found.ports.held, *found.pinholes.held)
    return Facts(
        public=public,
        is_certified=certificate_fact(paths, settings).judgement is Judgement.GOOD,
        is_mapped=any(one.port.external == public.port and one.port in wanted for one in held),
        ours=ours,
    )


def find_news(paths: Paths, names: PublicNames, facts: Facts) -> tuple[str, ...]:
    """What others see of us and may have changed: when it has, they are asked anew."""
    acme = load_result(paths, ACME, AcmeState) or AcmeState()
    certificate = f"certificate until {acme.ends:.0f}" if facts.is_certified else "no certificate"
    ports = "port open" if facts.is_mapped else "port not open"
    return (names.delegate, *facts.ours, certificate, ports)


def run_check(paths: Paths, now: float, name: str, *, as_json: bool, save: bool, due: bool) -> int:
    """The verb; exit code 1 when other servers (or ours, with another's name) get nowhere."""
    settings = load_settings(paths.settings)
    own = settings.server.name if settings else ""
    result: FederationResult | None
    if name and name != own:
        result = look_at(foreign_eyes(paths, settings, name), name, now=now)
    else:
        result = check_own(paths, now, wanted=not due, save=save)
    if result is None:
        sys.stdout.write("No other server is meant to reach this one: nothing to check.\n")
        return 0
    if not due:
        show(result, as_json=as_json)
    return 1 if result.judgement is Judgement.BAD and not save else 0


def foreign_eyes(paths: Paths, settings: Settings | None, name: str) -> Eyes:
    """Another server must not send us to a machine at home; under our own names we look at us."""
    ours = public_names(settings) if settings else None
    if ours is not None and name.partition(":")[0] in ours.all:
        return make_eyes()
    return replace(make_eyes(), world=Web(may_dial=strangers_only(paths)))


def show(result: FederationResult, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(to_table(result), indent=1) + "\n")
        return
    lines = [f"{result.judgement.value.upper()}: {result.sentence}"]
    lines += [f"  {part.judgement.value:6} {part.title}: {part.detail}" for part in result.parts]
    if result.next_step:
        lines.append(f"  -> {result.next_step}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
