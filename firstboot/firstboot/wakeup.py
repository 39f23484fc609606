"""The wake-up call: after a boot or with a new address, tell the servers that gave up on us.

Run by hearth-wakeup.timer and by hand. One request to each server that shares a room, about one a
second, and never often: what was called is remembered over reboots.
"""

from __future__ import annotations

import fcntl
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.deadline import Clock, Deadline, wait_until
from appliance.errors import ConfigError, DeadlineError, StateError
from appliance.log import logger, progress
from appliance.paths import Paths
from appliance.settings import Settings, load_settings
from appliance.tables import to_table
from firstboot.federation import wants_check
from firstboot.wakeup_plan import Act, WakeupResult, find_facts, plan, remember, with_clock
from services.federation.fetch import Web
from services.federation.lookup import Lookup
from services.federation.neighbours import find_neighbours
from services.federation.sign import SigningKey, read_signing_key
from services.federation.strangers import strangers_only
from services.federation.wake import SERVER_SECONDS, Call, Outcome, prepare_calls, wake
from services.homeserver import Homeserver, find_homeserver
from services.homeserver.api import is_healthy
from services.results import load_result, save_result

RESULT = "wakeup"
MAX_SERVERS = 500
MAX_SECONDS = 1200.0
PACE_SECONDS = 1.0
ANSWER_SECONDS = 10.0
CALLERS = 8  # a server that does not answer must not hold up the others
# After a power cut in a whole region not everybody shall call the same large server at once.
START_JITTER_SECONDS = 60.0
# A small board takes minutes to start Synapse.
START_SECONDS = 900.0
START_EVERY = 5.0


@dataclass(frozen=True, kw_only=True)
class World:
    """Who is called and when; tests have their own."""

    web: Web = field(default_factory=lambda: Web(seconds=ANSWER_SECONDS))
    lookup: Lookup = field(default_factory=Lookup)
    clock: Clock = time
    chance: Callable[[float, float], float] = random.uniform


def make_world(paths: Paths) -> World:
    return World(web=Web(seconds=ANSWER_SECONDS, may_dial=strangers_only(paths)))


def run_wakeup(
    paths: Paths, *, due: bool, dry_run: bool, as_json: bool, world: World | None = None
) -> int:
    """The verb. ``due``: only when there is a reason. Exit code 1 when no call was possible."""
    settings = load_settings(paths.settings)
    if settings is None or not wants_check(settings):
        _tell("No other server is meant to reach this one: nobody to call.", as_json=as_json)
        return 0
    homeserver = find_homeserver(settings.server.software)
    if dry_run:
        return show_calls(paths, settings, homeserver, as_json=as_json)
    paths.runtime.mkdir(parents=True, exist_ok=True)
    with (paths.runtime / "wakeup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = call_when_due(paths, settings, homeserver, world or make_world(paths), due=due)
    if not due:
        if as_json:
            sys.stdout.write(json.dumps(to_table(result), indent=1) + "\n")
        else:
            _tell(describe(result), as_json=False)
    return 1 if result.error else 0


def call_when_due(
    paths: Paths, settings: Settings, homeserver: Homeserver, world: World, *, due: bool
) -> WakeupResult:
    now = time.time()
    memory = with_clock(load_result(paths, RESULT, WakeupResult) or WakeupResult(), now)
    facts = find_facts(paths, settings, now)
    step = plan(memory, facts, now, wanted=not due)
    logger.info("%s", step.why)
    if step.act is Act.NOTE:
        memory = replace(memory, was_offline=True)
        save_result(paths, RESULT, memory)
    if step.act is not Act.CALL:
        return memory
    if due:
        try:
            _wait_for(homeserver, paths, world)
        except DeadlineError as error:
            logger.warning("%s", error.message)
            return replace(memory, error=error.message)
        world.clock.sleep(world.chance(0.0, START_JITTER_SECONDS))
    # Before the first call, so that a machine that dies each time does not call each time.
    memory = remember(memory, facts, now)
    save_result(paths, RESULT, memory)
    calls = find_calls(paths, settings, homeserver)
    with progress(f"Telling {len(calls)} servers that we are back"):
        outcomes = call_all(calls, world)
    result = replace(
        memory,
        found=len(calls),
        woken=outcomes[Outcome.WOKEN],
        refused=outcomes[Outcome.REFUSED],
        silent=outcomes[Outcome.SILENT],
    )
    save_result(paths, RESULT, result)
    return result


def find_calls(paths: Paths, settings: Settings, homeserver: Homeserver) -> tuple[Call, ...]:
    """Signed; the key is read for this alone."""
    own = settings.server.name
    neighbours = find_neighbours(paths, homeserver, own, limit=MAX_SERVERS)
    if not neighbours:
        return ()
    return prepare_calls(_read_key(homeserver.signing_key(paths)), own, neighbours)


def call_all(calls: Sequence[Call], world: World) -> Counter[Outcome]:
    """About one a second, begun within MAX_SECONDS and soon over; those not called are silent."""
    deadline = Deadline(MAX_SECONDS, clock=world.clock)
    begun: list[Future[Outcome]] = []
    with ThreadPoolExecutor(max_workers=CALLERS) as pool:
        for call in calls:
            if deadline.expired:
                logger.warning("%d servers were not called for want of time",
                               len(calls) - len(begun))  # fmt: skip
                break
            begun.append(pool.submit(wake, world.web, world.lookup, call))
            world.clock.sleep(world.chance(0.5, 1.5) * PACE_SECONDS)
        late = wait(begun, timeout=deadline.remaining + SERVER_SECONDS).not_done
        if late:
            logger.warning("%d servers hold up the others; those still waiting are not called",
                           len(late))  # fmt: skip
        pool.shutdown(cancel_futures=True)
        outcomes = Counter(_outcome(future) for future in begun)
    outcomes[Outcome.SILENT] += len(calls) - len(begun)
    return outcomes


def _outcome(future: Future[Outcome]) -> Outcome:
    """One server with an answer that we did not foresee must not cost the others their call."""
    if future.cancelled():
        return Outcome.SILENT
    try:
        return future.result()
    except Exception:
        logger.exception("a wake-up call failed unexpectedly")
        return Outcome.SILENT


def show_calls(paths: Paths, settings: Settings, homeserver: Homeserver, *, as_json: bool) -> int:
    """Whom a call now would go to, and whether one is due."""
    neighbours = find_neighbours(paths, homeserver, settings.server.name, limit=MAX_SERVERS)
    now = time.time()
    memory = with_clock(load_result(paths, RESULT, WakeupResult) or WakeupResult(), now)
    step = plan(memory, find_facts(paths, settings, now), now)
    names = [one.server for one in neighbours]
    if as_json:
        table = {"servers": names, "due": step.act is Act.CALL, "why": step.why}
        sys.stdout.write(json.dumps(table, indent=1) + "\n")
        return 0
    sys.stdout.write("".join(f"{name}\n" for name in names))
    sys.stdout.write(f"{len(names)} servers share a room with this one. {step.why}\n")
    return 0


def describe(result: WakeupResult) -> str:
    if result.error:
        return result.error
    words = [f"{result.woken} of {result.found} servers know that we are back"]
    if result.silent:
        words.append(f"{result.silent} do not answer")
    if result.refused:
        words.append(f"{result.refused} do not accept our signature")
    return f"{'; '.join(words)}."


def _wait_for(homeserver: Homeserver, paths: Paths, world: World) -> None:
    """Whoever is woken sends at once; there must be somebody to take it."""
    wait_until(
        lambda: is_healthy(homeserver, paths),
        seconds=START_SECONDS,
        every=START_EVERY,
        what=f"{homeserver.title}'s start",
        clock=world.clock,
    )


def _read_key(file: Path) -> SigningKey:
    try:
        return read_signing_key(file.read_text())
    except OSError as error:
        message = f"the signing key {file} cannot be read: {error.strerror}"
        raise StateError(message, hint="restore it from the recovery file or a backup") from error
    except UnicodeDecodeError:
        raise ConfigError(f"the signing key {file} is damaged") from None


def _tell(text: str, *, as_json: bool) -> None:
    sys.stdout.write(json.dumps({"why": text}) + "\n" if as_json else f"{text}\n")
