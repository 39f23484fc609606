"""``hearthctl doctor``: every check, one after the other, and the worst of their verdicts."""

from __future__ import annotations

import difflib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from appliance.errors import ConfigError, HearthError, UsageError
from appliance.paths import Paths
from appliance.settings import Settings, load_settings
from appliance.state import Phase, load_state
from appliance.tables import to_table
from services.health.checks import CHECKS
from services.health.result import Check, CheckResult, Examination, Verdict, failed
from services.units import SystemdUnits, Units


def _follow_address(paths: Paths) -> None:
    from firstboot.ddns import follow_address

    follow_address(paths)


def _look_outside(paths: Paths) -> None:
    from firstboot.federation import check_own

    check_own(paths, time.time(), wanted=True, save=True)


# A check asked for by name looks at what its job does now, not at what it did some time ago.
JOBS: Mapping[str, Callable[[Paths], None]] = {
    "ddns": _follow_address,
    "federation": _look_outside,
}
MARKS = {Verdict.OK: "ok", Verdict.WARN: "WARN", Verdict.FAIL: "FAIL"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    name: str
    title: str
    verdict: Verdict
    evidence: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """``verdict`` is the worst of the findings'."""

    verdict: Verdict
    phase: Phase
    findings: tuple[Finding, ...]


def run(paths: Paths, units: Units | None = None, *, checks: Sequence[Check] = CHECKS) -> Report:
    """Measure everything that there is at this point of the appliance's life."""
    phase, settings, findings = _load(paths)
    examination = Examination(paths=paths, units=units or SystemdUnits(), settings=settings)
    for check in checks:
        if check.needs_setup and settings is None:
            continue
        result = _run_check(check, examination)
        findings.append(
            Finding(
                name=check.name,
                title=check.title,
                verdict=result.verdict,
                evidence=result.evidence,
                hint=result.hint,
            )
        )
    order = tuple(Verdict)
    worst = max((finding.verdict for finding in findings), key=order.index, default=Verdict.OK)
    return Report(verdict=worst, phase=phase, findings=tuple(findings))


def _load(paths: Paths) -> tuple[Phase, Settings | None, list[Finding]]:
    """Damaged files are a finding, not the end of the examination."""
    try:
        phase = load_state(paths.state).phase
        settings = load_settings(paths.settings) if phase is Phase.READY else None
    except ConfigError as error:
        finding = Finding(
            name="settings",
            title="Settings",
            verdict=Verdict.FAIL,
            evidence=error.message,
            hint=error.hint or "restore it from the recovery file",
        )
        return Phase.FAILED, None, [finding]
    if phase is Phase.READY and settings is None:
        message, hint = f"{paths.settings} is missing", "restore it from the recovery file"
        finding = Finding(
            name="settings", title="Settings", verdict=Verdict.FAIL, evidence=message, hint=hint
        )
        return phase, None, [finding]
    return phase, settings, []


def _run_check(check: Check, examination: Examination) -> CheckResult:
    try:
        return check.run(examination)
    except HearthError as error:
        return failed(error.message, error.hint or "")
    except Exception as error:  # one broken check must not hide the others
        return failed(f"the check itself failed: {type(error).__name__}: {error}", "report this")


def find_checks(names: Sequence[str]) -> tuple[Check, ...]:
    """The checks of these names, all without any. Raises UsageError for an unknown name."""
    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(known)}"
            raise UsageError(f"there is no check {name!r}", hint=hint)
    return tuple(check for check in CHECKS if not names or check.name in names)


def show_report(paths: Paths, *, as_json: bool, names: Sequence[str] = ()) -> int:
    """Print the report; exit code 1 when something fails."""
    checks = find_checks(names)
    for name in names:
        if name in JOBS and load_state(paths.state).phase is Phase.READY:
            JOBS[name](paths)
    report = run(paths, checks=checks)
    if as_json:
        sys.stdout.write(json.dumps(to_table(report), indent=1) + "\n")
    else:
        sys.stdout.write("".join(_lines(report)))
    return 1 if report.verdict is Verdict.FAIL else 0


def _lines(report: Report) -> list[str]:
    lines = []
    for finding in report.findings:
        first, *rest = finding.evidence.splitlines() or [""]
        lines.append(f"{MARKS[finding.verdict]:<5} {finding.title}: {first}\n")
        lines += [f"        {line}\n" for line in rest]
        if finding.hint:
            lines.append(f"      -> {finding.hint}\n")
    if report.phase is not Phase.READY:
        lines.append(f"The appliance is not set up yet (it is {report.phase.value}).\n")
    return lines
