"""A release on its way to a million appliances, and a bad one that is paused (simulated)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from appliance.log import progress
from benchmarks.chart import Chart, Line, Point, draw
from benchmarks.fleet import (
    AT_ONCE,
    DAY,
    HOUR,
    INSTALL_SECONDS,
    MINUTE,
    NEVER,
    STAGED,
    Fleet,
    Spread,
    make_fleet,
    per_minute,
    spread,
)
from benchmarks.table import Row, publish
from imagebuild.context import make_context
from imagebuild.recipe import make_recipe

PARTS = ("load", "time", "bad")
MACHINES = 1_000_000
VERSION = "1.2"
SHOWN_DAYS = 7
# A look is two conditional requests, for the revoked keys and for the index. Its size is measured
# by `ci/bench update`, the download too; these are what it said last, for where it did not run.
LOOK_REQUESTS = 2
LOOK_KB, DOWNLOAD_MB, BUNDLE_MB = 1.3, 24.0, 200.0
RANGE_KB = 128  # the kernel's read-ahead on the network block device that RAUC streams through
# A content delivery network: places that each ask the origin again when this is over.
EDGES, MAX_AGE = 200, 300
PAUSED_AFTER = (6, 12, 24, 48)


def measure(parts: tuple[str, ...]) -> None:
    directory = make_context(make_recipe("hearth")).build / "bench"
    with progress(f"A release among {MACHINES:,} appliances"):
        fleet = make_fleet(MACHINES, VERSION)
        runs = {stages: spread(fleet, stages) for stages in (STAGED, AT_ONCE)}
    staged, at_once = runs[STAGED], runs[AT_ONCE]
    rows: list[Row] = []
    if "load" in parts:
        rows += load_rows(staged, "staged", directory) + load_rows(at_once, "at once", directory)
        rows += origin_rows(len(fleet), directory)
    if "time" in parts:
        rows += time_rows(staged, "staged") + time_rows(at_once, "at once")
    if "bad" in parts:
        rows += bad_rows(staged, "staged") + bad_rows(at_once, "at once")
    publish("rollout", rows, directory)
    draw(charts(staged, at_once, directory), directory / "rollout.png")
    print(directory / "rollout.png")


def looks(fleet: Fleet, run: Spread) -> Iterable[int]:
    """Every look at the channel: each day's, and the one before a restart."""
    daily = (phase + day * DAY for day in range(SHOWN_DAYS) for phase in fleet.phase)
    return chain(daily, (at for at in run.started if at != NEVER))


def requests(run: Spread, directory: Path) -> list[int]:
    """How many in each minute, all told: what one web server alone would be asked."""
    minutes = SHOWN_DAYS * DAY // MINUTE
    asked = [LOOK_REQUESTS * count for count in per_minute(looks(run.fleet, run), minutes=minutes)]
    share = range_requests(directory) * MINUTE / INSTALL_SECONDS
    for minute, count in enumerate(per_minute(run.found, minutes=minutes)):
        for later in range(minute, min(minute + INSTALL_SECONDS // MINUTE, minutes)):
            asked[later] += round(count * share)
    return asked


def load_rows(run: Spread, name: str, directory: Path) -> list[Row]:
    """The busiest minute of the week in which a small release comes out."""
    asked = requests(run, directory)
    downloads = per_minute(run.found, minutes=SHOWN_DAYS * DAY // MINUTE)
    width = INSTALL_SECONDS // MINUTE
    under_way = max(sum(downloads[at : at + width]) for at in range(len(downloads)))
    bits = under_way * download_mb(directory) * 8 / INSTALL_SECONDS / 1000
    return [
        Row(figure=f"requests of appliances, busiest minute, {name}",
            value=max(asked) / MINUTE, unit="/s"),
        Row(figure=f"downloads, busiest quarter of an hour, {name}", value=bits, unit="Gbit/s"),
    ]  # fmt: skip


def origin_rows(machines: int, directory: Path) -> list[Row]:
    a_day = machines * LOOK_REQUESTS
    fills = EDGES * BUNDLE_MB / 1000
    return [
        Row(figure="requests of appliances, a day without news", value=a_day / DAY, unit="/s"),
        Row(figure="bytes of those", value=machines * look_kb(directory) / 1e6, unit="GB/day"),
        Row(figure="bytes of a small release, all told",
            value=machines * download_mb(directory) / 1e6, unit="TB"),
        Row(figure=f"requests at the origin behind a network of {EDGES} places",
            value=EDGES * LOOK_REQUESTS / MAX_AGE, unit="/s"),
        Row(figure=f"bytes of a release at the origin behind {EDGES} places",
            value=fills, unit="GB"),
    ]  # fmt: skip


def time_rows(run: Spread, name: str) -> list[Row]:
    return [
        Row(figure=f"published to running on {share:.0%} of all, {name}",
            value=run.time_to(share) / HOUR, unit="h")
        for share in (0.5, 0.9, 0.99)
    ]  # fmt: skip


def bad_rows(run: Spread, name: str) -> list[Row]:
    """All that started it by then; what has it and waits for its hour does not start it any more.

    Each of these machines goes back by itself: it costs them two restarts, not their data.
    """
    return [
        Row(figure=f"machines that start a bad release paused after {hours} h, {name}",
            value=run.reached(hours * HOUR), unit="")
        for hours in PAUSED_AFTER
    ]  # fmt: skip


def charts(staged: Spread, at_once: Spread, directory: Path) -> list[Chart]:
    machines = len(staged.fleet)
    hours = range(0, SHOWN_DAYS * 24 + 1)

    def running(run: Spread) -> list[Point]:
        return [(hour / 24, 100 * run.reached(hour * HOUR) / machines) for hour in hours]

    def asked(run: Spread) -> list[Point]:
        """The mean of each hour's quarter: a single minute is noise."""
        asked = requests(run, directory)
        step = 15
        return [(at / (DAY // MINUTE), sum(asked[at : at + step]) / (step * MINUTE * 1000))
                for at in range(0, len(asked), step)]  # fmt: skip

    def bad(run: Spread, *, installed: bool) -> list[Point]:
        count = run.installed if installed else run.reached
        return [(hour, 100 * count(hour * HOUR) / machines) for hour in range(49)]

    loads = (
        Line(name="all at once", points=asked(at_once)),
        Line(name="staged", points=asked(staged)),
    )
    highest = max(y for line in loads for _, y in line.points)
    step = 10 ** math.floor(math.log10(highest))
    return [
        Chart(title="Percent of all that run the release", x_name="days since it was published",
              x_max=SHOWN_DAYS, x_step=1, y_max=100, y_step=25, names_at_left=True,
              lines=(Line(name="all at once", points=running(at_once)),
                     Line(name="staged", points=running(staged)))),
        Chart(title="Thousand requests per second, ranges of the bundle among them",
              x_name="days since it was published", x_max=SHOWN_DAYS, x_step=1,
              y_max=highest * 1.1, y_step=step, lines=loads),
        Chart(title="Percent of all that start a bad release before it is paused",
              x_name="hours until it is paused", x_max=48, x_step=6, y_max=100, y_step=25,
              names_at_left=True,
              lines=(Line(name="all at once", points=bad(at_once, installed=False)),
                     Line(name="staged", points=bad(staged, installed=False)),
                     Line(name="staged, if none asked again before its restart",
                          points=bad(staged, installed=True)))),
    ]  # fmt: skip


def range_requests(directory: Path) -> float:
    return download_mb(directory) * 1000 / RANGE_KB


def download_mb(directory: Path) -> float:
    return _measured(directory, "downloaded for one Python package", "MB", DOWNLOAD_MB)


def look_kb(directory: Path) -> float:
    return _measured(directory, "update check with nothing new", "kB", LOOK_KB)


def _measured(directory: Path, figure: str, unit: str, otherwise: float) -> float:
    file = directory / "update.json"
    rows = json.loads(file.read_text()) if file.exists() else []
    found = (
        row["value"] for row in rows if row["figure"].startswith(figure) and row["unit"] == unit
    )
    return float(next(found, otherwise))
