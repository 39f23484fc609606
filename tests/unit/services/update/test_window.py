from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from appliance.errors import ConfigError
from appliance.settings import Updates
from services.update.window import is_in, parse_window

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("window", "moment", "expected"),
    [
        ("03:00-05:00", "2026-11-23T03:00", True),
        ("03:00-05:00", "2026-11-23T04:59", True),
        ("03:00-05:00", "2026-11-23T05:00", False),
        ("03:00-05:00", "2026-11-23T02:59", False),
        ("23:30-00:30", "2026-11-23T23:45", True),
        ("23:30-00:30", "2026-11-24T00:15", True),
        ("23:30-00:30", "2026-11-24T00:30", False),
        ("00:00-00:00", "2026-11-24T17:30", True),  # whenever it likes
        ("02:00-03:00", "2026-10-25T02:30", True),  # the hour that there is twice
        ("03:00-05:00", "2026-03-29T03:30", True),  # the morning without 02:30
    ],
)
def test_the_owners_hours(window: str, moment: str, expected: bool) -> None:
    assert is_in(window, BERLIN, at(moment)) is expected


def test_it_is_the_owners_clock_that_counts() -> None:
    now = at("2026-11-23T03:30", BERLIN)
    assert is_in("03:00-05:00", BERLIN, now)
    assert not is_in("03:00-05:00", "Etc/UTC", now)


@pytest.mark.parametrize(
    "text", ["", "3-5", "3:00-5:00", "03:00-24:00", "03:60-05:00", "03:00 - 05:00", "03:00-03:59",
             "23:30-00:15", "03:00-05:00\n", "0\u0663:00-05:00"]
)  # fmt: skip
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_window(text)


def test_the_usual_one_is_one() -> None:
    parse_window(Updates().window)
    with pytest.raises(ConfigError, match="no time zone"):
        is_in("03:00-05:00", "Mars/Olympus", 0.0)
