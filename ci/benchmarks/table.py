"""Rows of figures: as a table for people, as JSON for comparing builds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic

from appliance.atomic import write_atomic


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure; smaller is better. Without ``must`` it is told for comparison only."""

    figure: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None

    @property
    def ok(self) -> bool | None:
        return None if self.must is None else self.value <= self.must


class Stopwatch:
    seconds = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    watch = Stopwatch()
    start = monotonic()
    yield watch
    watch.seconds = monotonic() - start


def render(rows: Sequence[Row]) -> str:
    width = max(len(row.figure) for row in rows)
    lines = [f"{'figure':<{width}}     value  unit     must      aim"]
    for row in rows:
        must, aim = (f"{n:g}" if n is not None else "-" for n in (row.must, row.aim))
        verdict = "" if row.ok is None else ("  ok" if row.ok else "  MISSED")
        lines.append(
            f"{row.figure:<{width}} {row.value:>9.2f}  {row.unit:<5} {must:>7}  {aim:>7}{verdict}"
        )
    return "\n".join(lines)


def publish(name: str, rows: Sequence[Row], directory: Path) -> None:
    """Print the table; write the JSON, where rows that this run left out are kept."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.json"
    table = [{**asdict(row), "value": round(row.value, 3), "ok": row.ok} for row in rows]
    new = {row["figure"] for row in table}
    if path.exists():
        table += [row for row in json.loads(path.read_text()) if row["figure"] not in new]
    write_atomic(path, json.dumps(table, indent=1) + "\n")
    print(render(rows), flush=True)
