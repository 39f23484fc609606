"""Whether a new version may stay: what is looked at, compared with what was so before.

The policy is here and knows no clock and no machine; services.health.verdict measures.

Two kinds of checks count. What is ours (data, database, homeserver, pages, units) must pass unless
it failed before the update as well: an update cannot be blamed for it, and might be its cure. What
comes from outside (the router, the time) must only be there again if it was there before: a
provider's bad night is no reason to go back. Certificates and other servers are never asked here.
Nor must a time server have answered: a clock that is not earlier than what was known is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from appliance.update import Baseline

MINUTE = 60.0
ROUND_SECONDS = 10.0  # between two looks
# How long all must have been well in a row: what crashes and is started again looks well at times.
STEADY_SECONDS = 60.0
LEAST_MINUTES, MOST_MINUTES = 1, 120
# Orderly restarts cost no attempt, so something else must end a version that only ever restarts.
MOST_STARTS = 12
MOST_PAUSE = 120 * MINUTE  # for a snapshot of a large database on a slow card
SHOWN = 3  # failed checks in a reason; the record has all


class Bearing(Enum):
    """OURS counts unless it failed before, OUTSIDE only where it passed before."""

    OURS = "ours"
    OUTSIDE = "outside"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One check's answer; ``evidence`` is what was seen."""

    title: str
    passed: bool
    evidence: str = ""
    bearing: Bearing = Bearing.OURS


Measurement = Mapping[str, Probe]
# The checks of bearing OUTSIDE by name, for those who load none of the checks themselves.
OUTSIDE_NAMES = frozenset({"clock", "router"})


class Act(Enum):
    WAIT = "wait"
    COMMIT = "commit"
    GO_BACK = "go back"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """``began`` and ``well_since`` on a clock that never goes back, in seconds; the latter is None
    while something counts against the version. ``limit`` is how long it may take in all, without
    what was ``paused``; ``looked`` is the last look.
    """

    began: float
    limit: float
    well_since: float | None = None
    looked: float = 0.0
    paused: float = 0.0

    @property
    def steady(self) -> float:
        """A quarter of a short limit, so that tests need not wait as long as owners do."""
        return min(STEADY_SECONDS, self.limit / 4)


def begin(now: float, minutes: int) -> Trial:
    """``minutes`` as the owner set it, within reason."""
    within = min(max(minutes, LEAST_MINUTES), MOST_MINUTES)
    return Trial(began=now, limit=within * MINUTE, looked=now)


def pause(trial: Trial, now: float, *, is_preparing: bool) -> Trial:
    """Do not count the time since the last look while the database is made ready, within reason."""
    passed = now - trial.looked if is_preparing else 0.0
    paused = min(trial.paused + passed, MOST_PAUSE)
    return replace(trial, looked=now, paused=paused)


def baseline_of(measurement: Measurement, now: float) -> Baseline:
    passed = {name: probe.passed for name, probe in measurement.items()}
    return Baseline(passed=passed, measured_at=now)


def best_of(earlier: Measurement, later: Measurement) -> Measurement:
    """Of two looks: what passed in one of them works. Units that have failed are named only while
    they are so, and of those the later look counts.
    """
    return {
        name: earlier[name] if name in earlier and earlier[name].passed else probe
        for name, probe in later.items()
    }


def counts(name: str, probe: Probe, baseline: Baseline) -> bool:
    """Whether a failure of this check counts against the new version."""
    before = baseline.passed.get(name)
    if probe.bearing is Bearing.OUTSIDE:
        return before is True
    return before is not False


def failing(measurement: Measurement, baseline: Baseline) -> dict[str, Probe]:
    """What fails and counts, by name."""
    return {
        name: probe
        for name, probe in measurement.items()
        if not probe.passed and counts(name, probe, baseline)
    }


def is_outside(names: Iterable[str]) -> bool:
    """Whether faults with these names, and there are some, came all from outside."""
    found = frozenset(names)
    return bool(found) and found <= OUTSIDE_NAMES


def plan(trial: Trial, faults: Mapping[str, Probe], now: float) -> tuple[Trial, Act]:
    """What to do after a look that found ``faults``.

    What became well before the limit gets the time to prove steady, even a little beyond it.
    """
    if faults:
        act = Act.GO_BACK if now - trial.began - trial.paused >= trial.limit else Act.WAIT
        return replace(trial, well_since=None), act
    since = now if trial.well_since is None else trial.well_since
    act = Act.COMMIT if now - since >= trial.steady else Act.WAIT
    return replace(trial, well_since=since), act


def tell(faults: Mapping[str, Probe], trial: Trial) -> str:
    """The reason, in a sentence for the owner."""
    parts = [f"{probe.title}: {_first_line(probe.evidence)}" for probe in faults.values()]
    more = f" (and {len(parts) - SHOWN} more)" if len(parts) > SHOWN else ""
    minutes = f"{trial.limit / MINUTE:.0f} minute{'s' if trial.limit > MINUTE else ''}"
    return f"not well after {minutes}: {'; '.join(parts[:SHOWN])}{more}"


def _first_line(text: str) -> str:
    return (text.splitlines() or ["no answer"])[0]
