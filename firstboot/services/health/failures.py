"""Units that have failed, whatever they are."""

from __future__ import annotations

from dataclasses import dataclass

from services.health.result import CheckResult, Examination, failed, passed


@dataclass(frozen=True)
class FailedUnitsCheck:
    name: str = "units"
    title: str = "Services"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        names = examination.units.failed()
        if names:
            hint = f"look at: journalctl -u {names[0]}"
            return failed(f"failed: {', '.join(names)}", hint)
        return passed("none has failed")
