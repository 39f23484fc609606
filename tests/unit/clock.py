from __future__ import annotations


class StillClock:
    """Stands still but for those who sleep; ``uptime`` in seconds at its beginning."""

    def __init__(self, now: float = 1000.0, *, uptime: float = 1000.0) -> None:
        self.now = now
        self._booted = now - uptime

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - self._booted

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds
