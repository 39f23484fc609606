"""The homeserver, started and answering."""

from __future__ import annotations

import time
from dataclasses import dataclass

from appliance.deadline import wait_until
from appliance.errors import StateError
from firstboot.steps.context import Context
from services.homeserver.api import is_healthy

REPORT_SECONDS = 10.0
TRIES = 5  # it never counts as failed: systemd starts it again and again


@dataclass(frozen=True)
class StartHomeserver:
    name: str = "homeserver"
    title: str = "Starting the homeserver"

    def is_done(self, context: Context) -> bool:
        return is_healthy(context.homeserver, context.paths)

    def apply(self, context: Context) -> None:
        """Raises StateError with the program's last words, or DeadlineError."""
        homeserver, units = context.homeserver, context.units
        start = last = time.monotonic()
        units.start(homeserver.unit, wait=False)
        before = units.restarts(homeserver.unit)

        def answers() -> bool:
            nonlocal last
            tries = units.restarts(homeserver.unit) - before
            if tries >= TRIES or units.is_failed(homeserver.unit):
                message = f"{homeserver.title} stopped: {units.log_tail(homeserver.unit)}"
                hint = f"look at all of it with: journalctl -u {homeserver.unit}"
                raise StateError(message, hint=hint)
            now = time.monotonic()
            if now - last >= REPORT_SECONDS:
                last = now
                context.report(f"{homeserver.title} is loading, {now - start:.0f} s so far")
            return is_healthy(homeserver, context.paths)

        wait_until(
            answers,
            seconds=context.start_seconds,
            what=f"{homeserver.title}'s first answer",
            every=1.0,
        )
