"""The data partition: there, writable, with room left."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass

from appliance.bootreport import DataCondition, load_boot_report
from services.health.result import CheckResult, Examination, failed, passed, warned

MIB = 1024 * 1024
FULL_MIB = 256
LOW_PERCENT = 10


@dataclass(frozen=True)
class DataCheck:
    name: str = "data"
    title: str = "Data partition"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        paths = examination.paths
        report = load_boot_report(paths.boot_report)
        if report.data is not DataCondition.OK:
            evidence = f"{report.data.value} at the last start: {report.data_detail}"
            return failed(evidence, "see the first page for what can be done")
        try:
            with tempfile.NamedTemporaryFile(dir=paths.hearth, prefix=".doctor-") as probe:
                probe.write(b"\0" * 4096)
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            hint = "the card may be worn out or full: save the recovery file, then replace it"
            return failed(f"a test file cannot be written: {error.strerror}", hint)
        space = os.statvfs(paths.data)
        free = space.f_bavail * space.f_frsize // MIB
        percent = 100 * space.f_bavail // max(space.f_blocks, 1)
        evidence = f"writable, {free} MiB free ({percent} %)"
        hint = "delete rooms and media that nobody needs, or use a larger card"
        if free < FULL_MIB:
            return failed(evidence, hint)
        return warned(evidence, hint) if percent < LOW_PERCENT else passed(evidence)
