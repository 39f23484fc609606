"""The data partition: there, writable, with room left."""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import dataclass

from appliance.bootreport import DataCondition, load_boot_report
from appliance.paths import Paths
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
        fault = find_write_fault(paths)
        if fault is not None:
            hint = "the card may be worn out or full: save the recovery file, then replace it"
            return failed(f"a test file cannot be written: {fault.strerror}", hint)
        space = os.statvfs(paths.data)
        free = space.f_bavail * space.f_frsize // MIB
        percent = 100 * space.f_bavail // max(space.f_blocks, 1)
        evidence = f"writable, {free} MiB free ({percent} %)"
        hint = "delete rooms and media that nobody needs, or use a larger card"
        if free < FULL_MIB:
            return failed(evidence, hint)
        return warned(evidence, hint) if percent < LOW_PERCENT else passed(evidence)


@dataclass(frozen=True)
class WritableCheck:
    """For the verdict on a new version, which is not to blame for a card that is nearly full."""

    name: str = "data"
    title: str = "Data partition"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        report = load_boot_report(examination.paths.boot_report)
        if report.data is not DataCondition.OK:
            return failed(f"{report.data.value} at the start: {report.data_detail}", "")
        fault = find_write_fault(examination.paths)
        if fault is not None and fault.errno not in (errno.ENOSPC, errno.EDQUOT):
            return failed(f"a test file cannot be written: {fault.strerror}", "")
        return passed("writable" if fault is None else "full")


def find_write_fault(paths: Paths) -> OSError | None:
    """Write a file as far as the card; None when that went well."""
    try:
        with tempfile.NamedTemporaryFile(dir=paths.hearth, prefix=".doctor-") as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error
    return None
