"""How long each part of a story took, for whoever reads the test's output."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Times:
    """Printed as they come, and kept in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._start = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.note(name, time.monotonic() - begin)

    def note(self, name: str, figure: float, unit: str = "s") -> None:
        self.seconds[name] = round(figure, 1)
        at = time.monotonic() - self._start
        print(f"{at:7.1f} s  {name}: {figure:.1f} {unit}", flush=True)
        self._file.write_text(json.dumps(self.seconds, indent=1))
