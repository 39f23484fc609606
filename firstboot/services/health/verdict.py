"""What the verdict looks at, measured now: before the restart as a baseline, after it again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.deadline import WallClock
from appliance.errors import ConfigError, HearthError
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import Settings, load_settings
from appliance.state import Phase, load_state
from appliance.update import Baseline
from services.health.agent import AgentCheck
from services.health.clock import ClockCheck
from services.health.data import WritableCheck
from services.health.database import DatabaseCheck
from services.health.homeserver import ClientCheck, HomeserverCheck
from services.health.identity import IdentityCheck
from services.health.pages import PagesCheck, ProxyCheck, SignInCheck
from services.health.result import Check, CheckResult, Examination, Verdict, failed
from services.health.route import RouteCheck
from services.health.trial import (
    ROUND_SECONDS,
    Bearing,
    Measurement,
    Probe,
    baseline_of,
    best_of,
)
from services.units import SystemdUnits, Units, unfinished_start

OURS: tuple[Check, ...] = (
    WritableCheck(),
    AgentCheck(),
    ProxyCheck(),
    PagesCheck(),
    SignInCheck(),
    DatabaseCheck(),
    IdentityCheck(),
    HomeserverCheck(),
    ClientCheck(),
)
OUTSIDE: tuple[Check, ...] = (ClockCheck(), RouteCheck())
# How long is waited for what does not work before an update. hearth-update-restart.service has
# twice that in all.
BASELINE_SECONDS = 600.0
# Jobs that fail when somebody outside fails: a provider, an authority, a router, a rented server.
# Nor do those count that ask on the owner's behalf, or that look after this very trial.
JOBS_OUTSIDE = frozenset(
    f"hearth-{name}.service"
    for name in (
        "acme", "certificate", "ddns", "ddns-check", "federation", "federation-check",
        "network-check", "portmap", "router", "tunnel", "tunnel-check", "update", "update-check",
        "update-install", "wakeup",
    )
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is needed for one; tests bring their own units, checks and end of the start."""

    paths: Paths
    units: Units
    unfinished: Callable[[], str] = unfinished_start
    ours: Sequence[Check] = OURS
    outside: Sequence[Check] = OUTSIDE


def make_look(paths: Paths) -> Look:
    return Look(paths=paths, units=SystemdUnits())


def measure_baseline(
    paths: Paths, *, look: Look | None = None, clock: WallClock = time
) -> Baseline:
    """What is so before the restart into another version.

    What fails now is looked at again for a while before it counts as broken: after a power cut
    PostgreSQL recovers for minutes, and a new version must not be forgiven for a homeserver that
    was only slow to start. Where all is well one look is enough.
    """
    look, began = look or make_look(paths), clock.monotonic()
    best, told = measure(look), ""
    while waits := {name: probe for name, probe in best.items() if not probe.passed}:
        if told != (told := ", ".join(probe.title for probe in waits.values())):
            logger.info("waiting for what does not work yet: %s", told)
        passed = clock.monotonic() - began
        if passed + ROUND_SECONDS > BASELINE_SECONDS:
            break
        clock.sleep(ROUND_SECONDS)
        best = best_of(best, measure(look))
    for name, probe in waits.items():
        logger.warning("before the update already, %s: %s", name, probe.evidence)
    return baseline_of(best, clock.time())


def measure(look: Look) -> Measurement:
    """Every check that there is at this point of the appliance's life; none of them raises."""
    found: dict[str, Probe] = {}
    settings = _measure_settings(look.paths, found)
    _measure_start(look, found)
    examination = Examination(paths=look.paths, units=look.units, settings=settings)
    for bearing, checks in ((Bearing.OURS, look.ours), (Bearing.OUTSIDE, look.outside)):
        for check in checks:
            if settings is not None or not check.needs_setup:
                found[check.name] = _probe(check, examination, bearing)
    return found


def _measure_settings(paths: Paths, found: dict[str, Probe]) -> Settings | None:
    """The settings of an appliance that is set up; files that cannot be read are a fault."""
    try:
        is_ready = load_state(paths.state).phase is Phase.READY
        settings = load_settings(paths.settings) if is_ready else None
        passed = not is_ready or settings is not None
        evidence = "" if passed else f"{paths.settings} is missing"
    except ConfigError as error:
        settings, passed, evidence = None, False, error.message
    found["settings"] = Probe(title="Settings", passed=passed, evidence=evidence)
    return settings


def _measure_start(look: Look, found: dict[str, Probe]) -> None:
    """Whether the start is over, and each unit that has failed by its name."""
    try:
        unfinished = look.unfinished()
        units = look.units.failed()
    except HearthError as error:
        found["systemd"] = Probe(title="systemd", passed=False, evidence=error.message)
        return
    found["systemd"] = Probe(title="systemd", passed=not unfinished, evidence=unfinished)
    for name in units:
        if name not in JOBS_OUTSIDE:
            found[f"unit {name}"] = Probe(title=name, passed=False, evidence="has failed")


def _probe(check: Check, examination: Examination, bearing: Bearing) -> Probe:
    """A warning is good enough: a clock that no time server has confirmed is one."""
    result = _run(check, examination)
    return Probe(
        title=check.title,
        passed=result.verdict is not Verdict.FAIL,
        evidence=result.evidence,
        bearing=bearing,
    )


def _run(check: Check, examination: Examination) -> CheckResult:
    try:
        return check.run(examination)
    except HearthError as error:
        return failed(error.message, error.hint or "")
    except Exception as error:  # a check that breaks in the new version counts as failed
        return failed(f"the check itself failed: {type(error).__name__}: {error}", os.devnull)
