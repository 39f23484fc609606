"""Time in a simulated week (week.py): nobody waits for it."""

from __future__ import annotations

START = 1_800_000_000.0


class Clock:
    """The appliance's clock. ``true`` is the time; its own is behind while ``behind`` is set."""

    def __init__(self) -> None:
        self.true = START
        self.behind = 0.0
        self.booted = START - 30

    def time(self) -> float:
        return self.true - self.behind

    def monotonic(self) -> float:
        return self.true - self.booted

    def sleep(self, seconds: float, /) -> None:
        self.true += seconds


class TrueClock:
    """Everybody else's."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self) -> float:
        return self._clock.true

    monotonic = time = __call__

    def sleep(self, seconds: float, /) -> None:
        self._clock.sleep(seconds)
