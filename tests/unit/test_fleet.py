"""The simulated million behaves as the appliance's own policy says that each one does."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from benchmarks.chart import Chart, Line, draw
from benchmarks.check import check_rows
from benchmarks.fleet import (
    AT_ONCE,
    DAY,
    HOUR,
    NEVER,
    STAGED,
    TICK,
    WINDOW,
    look,
    make_fleet,
    per_minute,
    restart,
    spread,
)
from benchmarks.table import Row
from PIL import Image

from firstboot.update_plan import is_check_due, second_of_day

COUNT = 4000


def test_each_looks_when_its_job_would() -> None:
    chance = random.Random(7)
    for number in range(200):
        name = f"{number:032x}"
        tick, opens = chance.randrange(TICK), chance.randrange(3 * DAY)
        # The job's runs as the timer makes them, from a day before on.
        last = float(tick + chance.randrange(48) * TICK)
        base = 10 * DAY
        asked: list[float] = []
        for at in range(base - 2 * DAY + tick, base + 6 * DAY, TICK):
            if is_check_due(last or 1.0, 0, name, at):
                last = at
                asked.append(at - base)
        expected = next(at for at in asked if at >= opens)
        found = look(opens, int(second_of_day(name)), tick, 1000, chance)
        # A look begun before it was open may be answered after it: half an hour at most.
        assert found == expected or (found - expected) % DAY == 0
        assert opens <= found < opens + DAY + TICK


def test_restarts_are_in_the_owners_hours() -> None:
    chance = random.Random(3)
    for _ in range(2000):
        ready, tick = chance.randrange(4 * DAY), chance.randrange(TICK)
        zone = chance.randrange(-11, 13)
        at = restart(ready, tick, zone)
        assert WINDOW[0] <= (at + zone * HOUR) % DAY < WINDOW[1]
        assert ready <= at < ready + DAY + 2 * TICK


def test_nobody_has_it_before_its_turn() -> None:
    fleet = make_fleet(COUNT, "1.2")
    run = spread(fleet, STAGED)
    assert run.installed(DAY - 1) == pytest.approx(COUNT * 0.05, rel=0.25)
    assert run.installed(2 * DAY - 1) == pytest.approx(COUNT * 0.25, rel=0.1)
    assert run.installed(4 * DAY) > COUNT * 0.97
    assert run.reached(10 * HOUR) < run.installed(10 * HOUR)
    assert all(run.reached(h * HOUR) <= run.installed(h * HOUR) for h in range(200))
    assert run.time_to(0.99) > spread(fleet, AT_ONCE).time_to(0.99)
    assert run.started[-1] == NEVER or run.started[-1] < 30 * DAY


def test_the_same_numbers_twice() -> None:
    runs = [spread(make_fleet(500, "1.2"), STAGED).started for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0] != spread(make_fleet(500, "1.3"), STAGED).started


def test_minutes_are_counted() -> None:
    assert per_minute([0, 59, 60, 600], minutes=5) == [2, 1, 0, 0, 0]


def test_a_chart_has_its_lines(tmp_path: Path) -> None:
    chart = Chart(title="t", x_name="x", x_max=10, x_step=5, y_max=100, y_step=50,
                  lines=(Line(name="a", points=[(0, 0), (10, 100)]),))  # fmt: skip
    draw([chart, chart], tmp_path / "chart.png")
    with Image.open(tmp_path / "chart.png") as image:
        assert image.size == (900, 600)
        assert len(image.convert("RGB").getcolors() or ()) > 3


def test_the_figure_of_a_check(tmp_path: Path) -> None:
    [row] = check_rows(tmp_path)
    assert isinstance(row, Row)
    assert 0.5 < row.value < 2.0
    assert row.ok
