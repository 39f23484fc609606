"""What the update job does next: pure decisions, with the clock passed in.

Automatic updates check once a day, each appliance at its own second of the day, install what they
find, and restart in the owner's window. Nothing that failed here once is tried again by itself;
nothing that its publisher holds back is started.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

from appliance.update import Stage, UpdateState
from services.update.choose import parse_version

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FIRST_PAUSE = 30 * MINUTE
# After so many failures in a row it goes on the record, and on with one attempt a day.
TOLD_AFTER = 5
# Before a restart the channel is asked once more: a release may have turned out to be bad since.
FRESH = HOUR


class Act(StrEnum):
    """UNDO: only the record speaks of a trial. RESTART: also for one that did not come."""

    REST = "rest"
    CHECK = "check"
    INSTALL = "install"
    UNDO = "undo"
    RESTART = "restart"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What the job remembers (services.results); times in seconds since the epoch.

    ``failures`` in a row of installing ``version``; with ``is_hopeless`` the next attempt would end
    alike. ``check_failures`` in a row of asking the channel. ``why`` is what was decided last.
    ``cancelled``: the version that the owner would not have last. ``paused_seconds``: for how long
    ``paused_until`` was meant.
    """

    at: float = 0.0
    why: str = ""
    version: str = ""
    failures: int = 0
    not_before: float = 0.0
    is_hopeless: bool = False
    check_failures: int = 0
    paused_until: float = 0.0
    aged_boot: str = ""
    aged_uptime: float = 0.0
    cancelled: str = ""
    paused_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Offered:
    """``held``: why the version that is installed may not be started, by its publisher."""

    version: str = ""
    tried_at: float = 0.0
    held: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """``trial_on_record_only`` and ``restart_due`` as services.update.reboot tells them.

    ``from_channel``: what is installed came from the channel, whose publisher may hold it back.
    """

    update: UpdateState
    machine_id: str
    from_channel: bool = False
    is_set_up: bool = True
    is_committed: bool = True
    restart_due: bool = False
    trial_on_record_only: bool = False
    automatic: bool = True
    has_channel: bool = True
    in_window: bool = False
    offered: Offered = Offered()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``why`` is a sentence for the owner."""

    act: Act
    why: str


def plan(memory: Memory, facts: Facts, now: float) -> Plan:
    """The next act; asked again after each, until it says REST."""
    memory = with_clock(memory, now)
    for decide in (_machine, _trial, _pause, _check, _install, _restart):
        found = decide(memory, facts, now)
        if found is not None:
            return found
    return Plan(act=Act.REST, why="There is nothing new.")


def _machine(memory: Memory, facts: Facts, now: float) -> Plan | None:
    if not facts.is_set_up:
        return _rest("Setup is not over yet.")
    return None


def _trial(memory: Memory, facts: Facts, now: float) -> Plan | None:
    version = facts.update.version
    if facts.restart_due:
        return Plan(act=Act.RESTART, why=f"The restart into {version} did not come.")
    if facts.trial_on_record_only:
        return Plan(act=Act.UNDO, why=f"The restart into {version} was not prepared to its end.")
    if facts.update.stage is Stage.TRIAL:
        return _rest(f"Version {version} is on trial.")
    if not facts.is_committed:
        return _rest("What runs has not proved itself yet.")
    return None


def _pause(memory: Memory, facts: Facts, now: float) -> Plan | None:
    return _rest("Updates are paused.") if now < memory.paused_until else None


def _check(memory: Memory, facts: Facts, now: float) -> Plan | None:
    if not facts.has_channel:
        return None
    before_restart = (
        facts.update.stage is Stage.INSTALLED
        and _may_restart(facts)
        and facts.from_channel
        and not 0 <= now - facts.offered.tried_at < FRESH
    )
    if before_restart:
        return Plan(act=Act.CHECK, why=f"Is {facts.update.version} still what everybody gets?")
    if is_check_due(facts.offered.tried_at, memory.check_failures, facts.machine_id, now):
        return Plan(act=Act.CHECK, why="The day's look at the channel.")
    return None


def _install(memory: Memory, facts: Facts, now: float) -> Plan | None:
    update = facts.update
    version = _wanted(memory, facts)
    if not version:
        return None
    if version == memory.cancelled and not goes_on(memory, facts):
        if update.stage is Stage.INSTALLED:
            return None
        return _rest(f"Version {version} was cancelled; a newer one is installed by itself.")
    if memory.version == version and now < memory.not_before:
        if update.stage is Stage.INSTALLED:
            return None  # what is installed may be started meanwhile
        return _rest(f"Installing {version} failed; it is tried again later.")
    if memory.version == version and memory.is_hopeless and facts.offered.version != version:
        return _rest(f"Installing {version} failed: {update.error}")
    if update.stage is Stage.INSTALLING:
        return Plan(act=Act.INSTALL, why=f"Installing {version} was interrupted.")
    return Plan(act=Act.INSTALL, why=f"Version {version} is there.")


def _wanted(memory: Memory, facts: Facts) -> str:
    """What is to be installed now; empty when nothing is."""
    update, offered = facts.update, facts.offered.version
    if goes_on(memory, facts):
        return update.version
    if not facts.automatic or not offered:
        return ""
    # An offer is newer than what runs; than what waits, it may be the same, or newer too. What the
    # owner chose waits for its restart, unless its publisher will not have it started.
    is_chosen = update.by_hand and not facts.offered.held
    is_waiting = update.stage is Stage.INSTALLED and (is_chosen or offered == update.version)
    return "" if is_waiting else offered


def goes_on(memory: Memory, facts: Facts) -> bool:
    """Whether what was begun counts for more than what is offered: whatever was interrupted does.

    What the owner asked for and failed does until a newer one is offered; with no hope left, or
    after TOLD_AFTER failures, until any is. Else one click could end automatic updates for good.
    """
    update, offered = facts.update, facts.offered.version
    if update.stage is Stage.INSTALLING:
        return True
    if update.stage is not Stage.IDLE or not (update.by_hand and update.error and update.version):
        return False
    if not facts.automatic or not offered:
        return True
    if has_given_up(memory, update.version):
        return False
    return parse_version(offered) <= parse_version(update.version)


def _restart(memory: Memory, facts: Facts, now: float) -> Plan | None:
    update = facts.update
    if update.stage is not Stage.INSTALLED:
        return None
    if facts.offered.held:
        return _rest(f"Version {update.version} is installed and not started:"
                     f" {facts.offered.held}.")  # fmt: skip
    if not (facts.automatic or update.by_hand):
        return _rest(f"Version {update.version} is installed; the owner restarts into it.")
    if not facts.in_window:
        return _rest(f"Version {update.version} is installed and waits for its hour.")
    return Plan(act=Act.RESTART, why=f"Version {update.version} is installed, and it is its hour.")


def _may_restart(facts: Facts) -> bool:
    return facts.in_window and (facts.automatic or facts.update.by_hand)


def is_check_due(tried_at: float, failures: int, machine_id: str, now: float) -> bool:
    """Once a day at this machine's own second; sooner after a failure, twice as late each time."""
    if not tried_at or tried_at > now:
        return True  # never, or the clock was set back
    if failures:
        return now - tried_at >= pause_after(failures)
    phase = second_of_day(machine_id)
    return (now - phase) // DAY > (tried_at - phase) // DAY


def second_of_day(machine_id: str) -> float:
    """Spread evenly over the day, and the same every day."""
    digest = hashlib.sha256(f"check {machine_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % int(DAY)


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    doubled: float = FIRST_PAUSE * 2.0 ** min(failures - 1, 10)
    return min(doubled, DAY)


def note_failure(memory: Memory, version: str, now: float, *, hopeless: bool) -> Memory:
    """``hopeless``: the bundle itself is at fault, so that only another day may help."""
    failures = memory.failures + 1 if memory.version == version else 1
    pause = DAY if hopeless else pause_after(failures)
    return replace(
        memory, version=version, failures=failures, not_before=now + pause, is_hopeless=hopeless
    )


def note_success(memory: Memory) -> Memory:
    return replace(memory, version="", failures=0, not_before=0.0, is_hopeless=False)


def has_given_up(memory: Memory, version: str) -> bool:
    """Whether installing ``version`` has failed for good, as far as this bundle goes."""
    has_failed = memory.version == version
    return has_failed and (memory.is_hopeless or memory.failures >= TOLD_AFTER)


def with_clock(memory: Memory, now: float) -> Memory:
    """Nothing is further away than it could have been put off: the clock was set back."""
    memory = replace(memory, not_before=min(memory.not_before, now + DAY))
    if not memory.paused_seconds:
        return memory
    return replace(memory, paused_until=min(memory.paused_until, now + memory.paused_seconds))


def _rest(why: str) -> Plan:
    return Plan(act=Act.REST, why=why)
