"""Whether the clock can be believed; certificates and messages depend on it."""

from __future__ import annotations

import datetime
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.health.result import CheckResult, Examination, failed, passed, warned

SLACK = 60.0  # seconds; it may be touched at this very moment


@dataclass(frozen=True)
class ClockCheck:
    """A clock that no server has confirmed is a warning: they do not answer everywhere, nor every
    night. One that is earlier than what was known before is wrong.
    """

    name: str = "clock"
    title: str = "Clock"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        paths = examination.paths
        now = datetime.datetime.now(datetime.UTC)
        evidence = f"{now:%Y-%m-%d %H:%M} UTC"
        hint = "is the router connected to the Internet, and does it let NTP (UDP 123) through?"
        if now.timestamp() < _changed_at(paths.image_facts):
            return failed(f"{evidence}, which is before this image was made", hint)
        if now.timestamp() < _changed_at(paths.last_time) - SLACK:
            return failed(f"{evidence}, which is before the time that was known last", hint)
        # systemd-timesyncd.service(8): touched once a time server has set the clock
        if (paths.root / "run/systemd/timesync/synchronized").exists():
            return passed(f"{evidence}, set by a time server")
        return warned(f"{evidence}, not confirmed by a time server", hint)


def _changed_at(file: Path) -> float:
    with suppress(OSError):
        return file.stat().st_mtime
    return 0.0
