"""Moments that two runs of a job can compare, although a Pi's clock is set after its start."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.deadline import WallClock

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SLACK_SECONDS = 2.0  # what a clock is slewed by between two runs is no jump


@dataclass(frozen=True, kw_only=True)
class Moment:
    """``date`` is seconds since the epoch; ``uptime`` means something within ``boot`` only."""

    boot: str = ""
    date: float = 0.0
    uptime: float = 0.0

    def jump(self, now: Moment) -> float:
        """By how much the clock has been set forward since; 0 where that cannot be known."""
        if not self.boot or self.boot != now.boot:
            return 0.0
        jump = (now.date - self.date) - (now.uptime - self.uptime)
        return jump if abs(jump) > SLACK_SECONDS else 0.0


def read_boot_id() -> str:
    return BOOT_ID.read_text().strip()


def read_moment(clock: WallClock = time, boot_id: Callable[[], str] = read_boot_id) -> Moment:
    return Moment(boot=boot_id(), date=clock.time(), uptime=clock.monotonic())
