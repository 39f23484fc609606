"""The owner's hours for restarts: "03:00-05:00" in the appliance's own time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from appliance.errors import ConfigError

FORM = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
HOUR, DAY = 60, 24 * 60
# The job looks every half hour at least (hearth-update.timer); a shorter window could be missed.
LEAST = HOUR
HINT = 'for example "03:00-05:00"'


@dataclass(frozen=True, kw_only=True)
class Window:
    """Minutes since midnight; one that ends before it begins goes over midnight."""

    first: int
    last: int

    def has(self, minute: int) -> bool:
        if self.first < self.last:
            return self.first <= minute < self.last
        return minute >= self.first or minute < self.last


def parse_window(text: str) -> Window:
    """Raises ConfigError with what is wrong with it."""
    match = FORM.fullmatch(text)
    if match is None:
        raise ConfigError(f"{text!r} is no time of day from and to", hint=HINT)
    hours = [int(part) for part in match.groups()]
    window = Window(first=hours[0] * HOUR + hours[1], last=hours[2] * HOUR + hours[3])
    if (window.last - window.first) % DAY < LEAST and window.first != window.last:
        raise ConfigError(f"{text} is shorter than an hour", hint=HINT)
    return window


def is_in(text: str, timezone: str, now: float) -> bool:
    """Equal ends mean the whole day. ``now`` in seconds since the epoch. Raises ConfigError."""
    window = parse_window(text)
    try:
        local = datetime.fromtimestamp(now, ZoneInfo(timezone))
    except (KeyError, ValueError, OSError, OverflowError) as error:
        raise ConfigError(f"{timezone!r} is no time zone", hint="for example Etc/UTC") from error
    return window.has(local.hour * HOUR + local.minute)
