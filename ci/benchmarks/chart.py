"""Line charts as a PNG, drawn by Pillow: three small ones need no plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 900, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 45
COLOURS = ("#7a2e1d", "#1f6f8b", "#6b8f23", "#555555")
INK, GRID = "#222222", "#dddddd"
TEXT = 14
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Line:
    name: str
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """``x_max`` and ``y_max`` bound what is shown; both axes begin at 0."""

    title: str
    x_name: str
    x_max: float
    x_step: float
    y_max: float
    y_step: float
    lines: tuple[Line, ...]
    names_at_left: bool = False

    def place(self, point: Point, top: int) -> Point:
        x, y = min(point[0], self.x_max), min(point[1], self.y_max)
        across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return (LEFT + x / self.x_max * across, top + HEIGHT - BOTTOM - y / self.y_max * up)


def draw(charts: Sequence[Chart], target: Path) -> None:
    """One above the other."""
    image = Image.new("RGB", (WIDTH, HEIGHT * len(charts)), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(TEXT)
    for number, chart in enumerate(charts):
        _draw_one(pen, chart, number * HEIGHT, font)
    image.quantize(32).save(target, optimize=True)


def _draw_one(
    pen: ImageDraw.ImageDraw,
    chart: Chart,
    top: int,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    pen.text((LEFT, top + 8), chart.title, fill=INK, font=font)
    for y in _steps(chart.y_max, chart.y_step):
        line = [chart.place((x, y), top) for x in (0, chart.x_max)]
        pen.line(line, fill=GRID)
        pen.text((LEFT - 8, line[0][1]), f"{y:g}", fill=INK, font=font, anchor="rm")
    for x in _steps(chart.x_max, chart.x_step):
        line = [chart.place((x, y), top) for y in (0, chart.y_max)]
        pen.line(line, fill=GRID)
        pen.text((line[0][0], line[0][1] + 6), f"{x:g}", fill=INK, font=font, anchor="mt")
    pen.text((WIDTH - RIGHT, top + HEIGHT - 4), chart.x_name, fill=INK, font=font, anchor="rb")
    for number, one in enumerate(chart.lines):
        colour = COLOURS[number]
        pen.line([chart.place(point, top) for point in one.points], fill=colour, width=2)
        x, anchor = (LEFT + 10, "lt") if chart.names_at_left else (WIDTH - RIGHT - 6, "rt")
        at = (x, top + TOP + 10 + number * (TEXT + 6))
        pen.text(at, one.name, fill=colour, font=font, anchor=anchor)


def _steps(end: float, step: float) -> list[float]:
    return [number * step for number in range(int(end / step) + 1)]
