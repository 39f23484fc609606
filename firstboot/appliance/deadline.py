"""Waiting on a condition with a deadline, never on a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from appliance.errors import DeadlineError

T = TypeVar("T")


class Clock(Protocol):
    """Time as seconds since some start; tests pass a fake one."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float, /) -> None: ...


class WallClock(Clock, Protocol):
    """Also tells the date, as seconds since the epoch (time(2))."""

    def time(self) -> float: ...


class Deadline:
    """A point in time, ``seconds`` from now."""

    def __init__(self, seconds: float, *, clock: Clock = time) -> None:
        self.seconds = seconds
        self.clock = clock
        self._end = clock.monotonic() + seconds

    @property
    def remaining(self) -> float:
        return max(0.0, self._end - self.clock.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining == 0.0


def wait_until(
    condition: Callable[[], T | None],
    *,
    seconds: float,
    what: str,
    every: float = 0.5,
    clock: Clock = time,
) -> T:
    """Ask ``condition`` until it answers something true; return that answer.

    Raises DeadlineError naming ``what`` when ``seconds`` have passed.
    """
    deadline = Deadline(seconds, clock=clock)
    while True:
        answer = condition()
        if answer:
            return answer
        if deadline.expired:
            message = f"{what} did not happen within {seconds:.0f} s"
            raise DeadlineError(message)
        clock.sleep(min(every, max(deadline.remaining, 0.001)))
