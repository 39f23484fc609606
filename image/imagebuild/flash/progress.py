"""How far it is, how fast, and how long it will still take; one line on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

EVERY_TERMINAL = 0.2
EVERY_LOG = 10.0


class Meter:
    """One phase ("writing", "checking"). ``total`` in bytes; where it is None, ``fraction`` may
    tell how much of the work is done."""

    def __init__(
        self,
        what: str,
        total: int | None,
        *,
        fraction: Callable[[], float] | None = None,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total = total
        self._fraction = fraction
        self._stream = stream or sys.stderr
        self._now = now
        self._terminal = self._stream.isatty()
        self._start = self._shown = now()
        self._done = 0

    def tell(self, count: int) -> None:
        """``count`` more bytes are done."""
        self._done += count
        every = EVERY_TERMINAL if self._terminal else EVERY_LOG
        if self._now() - self._shown >= every:
            self._shown = self._now()
            self._put(self.render(), ends=False)

    def finish(self) -> None:
        seconds = max(self._now() - self._start, 0.001)
        self._put(
            f"{self._what}: {self._done / 1e6:.0f} MB in {seconds:.1f} s,"
            f" {self._done / 1e6 / seconds:.0f} MB/s",
            ends=True,
        )

    def render(self) -> str:
        """``writing: 45 %, 310 of 689 MB, 38 MB/s, 0:10 left``"""
        seconds = max(self._now() - self._start, 0.001)
        rate = self._done / seconds
        part = self._part()
        words = [f"{self._done / 1e6:.0f} MB", f"{rate / 1e6:.0f} MB/s"]
        if self._total:
            words[0] = f"{self._done / 1e6:.0f} of {self._total / 1e6:.0f} MB"
        if part:
            left = round(seconds / part - seconds)
            words = [f"{part * 100:.0f} %", *words, f"{left // 60}:{left % 60:02} left"]
        return f"{self._what}: {', '.join(words)}"

    def _part(self) -> float:
        if self._total:
            return min(1.0, self._done / self._total)
        return min(1.0, self._fraction()) if self._fraction else 0.0

    def _put(self, line: str, *, ends: bool) -> None:
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line}" + ("\n" if ends else ""))
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()
