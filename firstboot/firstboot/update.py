"""The update job: hearth-update.timer runs it, and the verbs and the dashboard its single acts.

What to do is decided in update_plan; here it is found out, done and remembered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from appliance.deadline import WallClock
from appliance.errors import ConfigError, HearthError, SignatureError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.release import Release, is_in_rollout
from appliance.settings import Settings, Updates, load_settings
from appliance.state import Phase, load_state
from appliance.update import Baseline, Outcome, Result, Stage, UpdateState
from firstboot.host import SystemHost
from firstboot.update_offer import find_source, find_wishes, offered_by_channel
from firstboot.update_plan import (
    HOUR,
    Act,
    Facts,
    Memory,
    Offered,
    goes_on,
    has_given_up,
    note_failure,
    note_success,
    plan,
    with_clock,
)
from services import slots
from services.moment import read_boot_id
from services.results import load_result, save_result
from services.snapshots.ageing import age
from services.units import SystemdUnits, Units
from services.update import channel, fetch, stick
from services.update.channel import Checker, CheckResult, load_index
from services.update.choose import held_back
from services.update.install import Installer, Report, Wanted
from services.update.keyring import write_keyring
from services.update.lock import update_lock
from services.update.machine import read_machine
from services.update.rauc import Rauc, is_url
from services.update.reboot import Trial, is_only_on_record, is_waiting_for_restart
from services.update.state import add_outcome, load_history, load_update, rolled_back, save_update
from services.update.window import is_in

RESULT = "update"
MOST_ACTS = 8  # check, install, check, restart: more than that is a mistake
# The bundle itself, or what it is made for, is at fault: asking again soon changes nothing.
HOPELESS = (SignatureError, ConfigError)


def measure_now(paths: Paths) -> Baseline:
    """All of the checks are only loaded here: most turns of the job do not come so far."""
    from firstboot.update_health import measure_before

    return measure_before(paths)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Who does what; tests bring their own clock and stay on the ground.

    ``hand_over`` starts the unit that begins the trial: the job, which reads what strangers send,
    may not read the owner's secrets, and a trial has to copy them.
    """

    paths: Paths
    clock: WallClock = time
    rauc: Rauc = field(default_factory=Rauc)
    units: Units = field(default_factory=SystemdUnits)
    restart: Callable[[], None] = field(default_factory=lambda: SystemHost().reboot)
    fetch: channel.Fetch = fetch.fetch
    measure: Callable[[Paths], Baseline] = measure_now
    boot_id: Callable[[], str] = read_boot_id
    report: Report = lambda state: None
    hand_over: Callable[[], None] | None = None

    def begin_trial(self) -> None:
        if self.hand_over is not None:
            self.hand_over()
            return
        with update_lock(self.paths):
            restart(self)


def run_job(desk: Desk) -> Memory:
    """Act after act until there is nothing left to do now."""
    with update_lock(desk.paths):
        # Written back below: what was put off by a clock that was ahead must not stay so.
        memory = with_clock(load_memory(desk.paths), desk.clock.time())
        memory = grow_old(desk, memory)
        stick.tidy(desk.paths)
        for _ in range(MOST_ACTS):
            now = desk.clock.time()
            facts = find_facts(desk.paths, memory, now)
            step = plan(memory, facts, now)
            logger.info("%s", step.why)
            memory = replace(memory, at=now, why=step.why)
            save_result(desk.paths, RESULT, memory)
            if step.act in (Act.REST, Act.RESTART):
                break
            _act(desk, memory, facts, step.act)
            memory = load_memory(desk.paths)
        else:
            return memory
    if step.act is Act.RESTART:
        desk.begin_trial()
    return memory


def _act(desk: Desk, memory: Memory, facts: Facts, act: Act) -> None:
    match act:
        case Act.CHECK:
            check(desk)
        case Act.INSTALL:
            try:
                install(desk, find_wanted(desk.paths, memory, facts))
            except HearthError as error:
                logger.warning("%s", error.message)
        case Act.UNDO:
            save_update(desk.paths, replace(facts.update, stage=Stage.INSTALLED))
        case _:
            raise AssertionError(act)


def check(desk: Desk, *, wants_it_now: bool = False, again: bool = False) -> CheckResult:
    """Ask the channel, and remember what it said. ``again``: also for what failed here before.

    Raises StateError where there is no channel.
    """
    source = find_source(desk.paths)
    if source is None:
        message = "this image was built without an update channel"
        raise StateError(message, hint="install from a file: hearthctl update install --from FILE")
    result = Checker(
        paths=desk.paths,
        source=source,
        machine=read_machine(desk.paths),
        previous=load_result(desk.paths, channel.RESULT, CheckResult),
        avoid={} if again else rolled_back(load_history(desk.paths), desk.clock.time()),
        wants_it_now=wants_it_now,
        fetch=desk.fetch,
    ).check(desk.clock.time())
    save_result(desk.paths, channel.RESULT, result)
    if result.error:
        logger.warning("the channel could not be asked: %s", result.error)
    memory = load_memory(desk.paths)
    failures = memory.check_failures + 1 if result.error else 0
    save_result(desk.paths, RESULT, replace(memory, check_failures=failures))
    return result


def install(desk: Desk, wanted: Wanted) -> UpdateState:
    """Raises HearthError; it is remembered, told on the record when it goes on, and tried again."""
    installer = Installer(desk.paths, desk.rauc, desk.units, desk.clock, desk.report)
    memory, now = load_memory(desk.paths), desk.clock.time()
    try:
        state = installer.install(wanted)
    except HearthError as error:
        version = load_update(desk.paths).version or wanted.version
        failed = note_failure(memory, version, now, hopeless=isinstance(error, HOPELESS))
        save_result(desk.paths, RESULT, failed)
        if has_given_up(failed, version) and not has_given_up(memory, version):
            _put_on_record(desk.paths, version, error.message, now)
        raise
    save_result(desk.paths, RESULT, note_success(memory))
    if wanted.source == str(stick.copy_of(desk.paths)):
        stick.forget(desk.paths)
    return state


def restart(desk: Desk) -> UpdateState:
    """Raises HearthError where the new version cannot be tried."""
    return Trial(
        paths=desk.paths,
        restart=desk.restart,
        rauc=desk.rauc,
        clock=desk.clock,
        measure=desk.measure,
    ).begin()


def find_wanted(paths: Paths, memory: Memory, facts: Facts) -> Wanted:
    """What the plan means by "install": what was begun, else what the channel offers."""
    update = facts.update
    if goes_on(memory, facts):
        return Wanted(source=update.source, version=update.version, by_hand=update.by_hand)
    wanted = offered_by_channel(paths)
    if wanted is None:
        raise StateError("the channel offers nothing", hint="hearthctl update check")
    return wanted


def load_memory(paths: Paths) -> Memory:
    return load_result(paths, RESULT, Memory) or Memory()


def find_facts(paths: Paths, memory: Memory, now: float) -> Facts:
    settings = load_settings(paths.settings)
    update, slot = load_update(paths), slots.status(paths)
    wishes = find_wishes(settings)
    ready = settings is not None and load_state(paths.state).phase is Phase.READY
    return Facts(
        update=update,
        machine_id=read_machine(paths).machine_id,
        is_set_up=ready,
        is_committed=slot.committed,
        restart_due=is_waiting_for_restart(update, slot),
        trial_on_record_only=is_only_on_record(update, slot),
        automatic=wishes.automatic,
        has_channel=find_source(paths) is not None,
        from_channel=is_url(update.source),
        in_window=settings is not None and _is_in_window(settings, now),
        offered=_find_offered(paths, update, now),
    )


def _find_offered(paths: Paths, update: UpdateState, now: float) -> Offered:
    source = find_source(paths)
    found = load_result(paths, channel.RESULT, CheckResult)
    if source is None or found is None or found.source != source.index_url:
        return Offered()
    wanted, offer = offered_by_channel(paths), found.offer
    version = wanted.version if wanted and offer and _is_due(paths, offer, now) else ""
    held = ""
    if update.stage is Stage.INSTALLED and is_url(update.source):
        index = load_index(paths, source.channel, write_keyring(paths))
        held = held_back(index, update.version) if index else ""
    return Offered(version=version, tried_at=found.at, held=held)


def _is_due(paths: Paths, offer: Release, now: float) -> bool:
    """Whether it may be installed unasked: an owner who looks is shown it before its turn."""
    version = offer.facts.version
    if version in rolled_back(load_history(paths), now):
        return False  # it was asked for before it failed
    return is_in_rollout(offer.rollout, read_machine(paths).machine_id, version)


def _is_in_window(settings: Settings, now: float) -> bool:
    """A window that cannot be read is as good as the usual one."""
    try:
        return is_in(settings.updates.window, settings.device.timezone, now)
    except ConfigError as error:
        logger.warning("%s", error.message)
        return is_in(Updates().window, "Etc/UTC", now)


def _put_on_record(paths: Paths, version: str, reason: str, now: float) -> None:
    booted = slots.booted_slot(paths)
    outcome = Outcome(
        result=Result.NOT_INSTALLED,
        version=version,
        from_version=read_machine(paths).version,
        slot=slots.other_slot(booted),
        at=now,
        reason=reason,
    )
    add_outcome(paths, outcome)


def grow_old(desk: Desk, memory: Memory) -> Memory:
    """An hour more of running: for the database's snapshots, and for what a stick has left."""
    if load_update(desk.paths).stage is Stage.TRIAL or not slots.status(desk.paths).committed:
        return memory
    boot, uptime = desk.boot_id(), desk.clock.monotonic()
    if memory.aged_boot == boot and uptime - memory.aged_uptime < HOUR:
        return memory
    if memory.aged_boot == boot:
        age(desk.paths)
        stick.age(desk.paths)
    return replace(memory, aged_boot=boot, aged_uptime=uptime)
