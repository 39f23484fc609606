"""Whether the clock can be believed; certificates and messages depend on it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from services.health.result import CheckResult, Examination, failed, passed, warned


@dataclass(frozen=True)
class ClockCheck:
    name: str = "clock"
    title: str = "Clock"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        paths = examination.paths
        now = datetime.datetime.now(datetime.UTC)
        evidence = f"{now:%Y-%m-%d %H:%M} UTC"
        facts = paths.image_facts
        hint = "is the router connected to the Internet, and does it let NTP (UDP 123) through?"
        if facts.exists() and now.timestamp() < facts.stat().st_mtime:
            return failed(f"{evidence}, which is before this image was made", hint)
        # systemd-timesyncd.service(8): touched once a time server has set the clock
        if (paths.root / "run/systemd/timesync/synchronized").exists():
            return passed(f"{evidence}, set by a time server")
        return warned(f"{evidence}, not confirmed by a time server", hint)
