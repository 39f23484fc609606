"""A release on its way to many appliances: when each of them looks, installs and restarts.

The appliance's own code decides (`bucket`, `second_of_day`, the job's half hours and the owner's
window as shipped); what is assumed about people's homes is in HOMES, TIME_ZONES and LINE.
"""

from __future__ import annotations

import bisect
import random
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.release import BUCKETS, bucket
from firstboot.update_plan import second_of_day

MINUTE, HOUR, DAY = 60, 3600, 86400
NEVER = 10**9
TICK = 30 * MINUTE  # hearth-update.timer
WINDOW = (3 * HOUR, 5 * HOUR)  # settings.Updates.window as shipped
INSTALL_SECONDS = 15 * MINUTE
# Share of all, and how likely one is online on a given day: most are never switched off.
HOMES = ((0.93, 0.995), (0.06, 0.7), (0.01, 0.15))
# Hours ahead of UTC and their share: Europe, America, Asia.
TIME_ZONES = ((0, 0.10), (1, 0.40), (2, 0.15), (-8, 0.07), (-5, 0.15), (-3, 0.03), (5, 0.04),
              (8, 0.03), (9, 0.03))  # fmt: skip
HORIZON_DAYS = 21


@dataclass(frozen=True, kw_only=True)
class Stages:
    """``steps``: seconds since publication, and the percentage from then on."""

    name: str
    steps: tuple[tuple[int, float], ...]

    def opens(self, place: int) -> int:
        """When a machine at ``place`` (appliance.release.bucket) may have it."""
        return next(at for at, percent in self.steps if place < percent / 100 * BUCKETS)


STAGED = Stages(name="5 %, 25 % a day later, all another day later",
                steps=((0, 5.0), (DAY, 25.0), (2 * DAY, 100.0)))  # fmt: skip
AT_ONCE = Stages(name="all at once", steps=((0, 100.0),))


@dataclass(frozen=True)
class Fleet:
    """One entry a machine. ``phase``: second of its daily look; ``tick``: where in the half hour
    its job runs; ``online``: in per mille a day.
    """

    place: array[int]
    phase: array[int]
    tick: array[int]
    zone: array[int]
    online: array[int]

    def __len__(self) -> int:
        return len(self.place)


def make_fleet(count: int, version: str) -> Fleet:
    """The same for the same numbers."""
    chance = random.Random(count)
    zones, zone_weights = zip(*TIME_ZONES, strict=True)
    shares, homes = zip(*HOMES, strict=True)
    names = [f"{number:032x}" for number in range(count)]
    return Fleet(
        place=array("i", (bucket(name, version) for name in names)),
        phase=array("i", (int(second_of_day(name)) for name in names)),
        tick=array("i", (chance.randrange(TICK) for _ in names)),
        zone=array("i", chance.choices(zones, zone_weights, k=count)),
        online=array("i", (int(1000 * one) for one in chance.choices(homes, shares, k=count))),
    )


@dataclass
class Spread:
    """What became of a release: for each machine the second at which it looked and found it, and
    at which it restarted into it (NEVER: not within the horizon), both sorted.
    """

    fleet: Fleet
    found: list[int] = field(default_factory=list)
    started: list[int] = field(default_factory=list)

    def reached(self, seconds: int) -> int:
        """How many have started it by then."""
        return bisect.bisect_right(self.started, seconds)

    def installed(self, seconds: int) -> int:
        """How many have it, or are about to."""
        return bisect.bisect_right(self.found, seconds)

    def time_to(self, share: float) -> int:
        return self.started[int(share * len(self.fleet)) - 1]


def spread(fleet: Fleet, stages: Stages) -> Spread:
    """Published at midnight UTC. Every restart asks the channel once more (update_plan.FRESH)."""
    chance = random.Random(1)
    found, started = [], []
    rows = zip(fleet.place, fleet.phase, fleet.tick, fleet.zone, fleet.online, strict=True)
    opening = [stages.opens(place) for place in range(BUCKETS)]
    for place, phase, tick, zone, online in rows:
        looked = look(opening[place], phase, tick, online, chance)
        found.append(looked)
        started.append(NEVER if looked == NEVER else restart(looked + INSTALL_SECONDS, tick, zone))
    return Spread(fleet=fleet, found=sorted(found), started=sorted(started))


def look(opens: int, phase: int, tick: int, online: int, chance: random.Random) -> int:
    """The first daily look at or after ``opens`` on a day on which the machine is online."""
    day = 0 if phase >= opens else (opens - phase + DAY - 1) // DAY
    while day < HORIZON_DAYS:
        if online > chance.random() * 1000:
            return next_tick(phase + day * DAY, tick)
        day += 1
    return NEVER


def restart(ready: int, tick: int, zone: int) -> int:
    """The job's first run in the owner's window, once it is installed."""
    at = next_tick(ready, tick)
    local = (at + zone * HOUR) % DAY
    first, last = WINDOW
    if first <= local < last:
        return at
    return next_tick(at + (first - local) % DAY, tick)


def next_tick(at: int, tick: int) -> int:
    return at + (tick - at) % TICK


def per_minute(moments: Iterable[int], *, minutes: int) -> list[int]:
    """How many of ``moments`` are in each minute."""
    counts = [0] * minutes
    for at in moments:
        if at // MINUTE < minutes:
            counts[at // MINUTE] += 1
    return counts
