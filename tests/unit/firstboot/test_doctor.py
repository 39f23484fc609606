"""The doctor on appliances of files, some of them broken on purpose."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.errors import NetworkError
from appliance.paths import Paths
from appliance.state import Phase, State, save_state
from firstboot.doctor import Report, run, show_report
from services.health.checks import CHECKS
from services.health.result import CheckResult, Examination, Verdict, failed, passed, warned
from unit.services.appliance_files import RecordedUnits, make_appliance


@dataclass
class Saying:
    """A check with a fixed answer, to see what the doctor makes of it."""

    answer: CheckResult | Exception
    needs_setup: bool = False
    name: str = "saying"
    title: str = "Saying"

    def run(self, examination: Examination) -> CheckResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = make_appliance(tmp_path)
    save_state(State(phase=Phase.READY), paths.state)
    return paths


def examine(paths: Paths, *answers: CheckResult | Exception) -> Report:
    return run(paths, RecordedUnits(), checks=[Saying(answer) for answer in answers])


def finding(report: Report, name: str) -> tuple[Verdict, str]:
    [found] = [one for one in report.findings if one.name == name]
    return found.verdict, found.evidence


@pytest.mark.parametrize(
    ("answers", "worst"),
    [
        ([passed("a")], Verdict.OK),
        ([passed("a"), warned("b", "do"), passed("c")], Verdict.WARN),
        ([failed("a", "do"), warned("b", "do")], Verdict.FAIL),
        ([], Verdict.OK),
    ],
)
def test_worst_verdict_counts(paths: Paths, answers: list[CheckResult], worst: Verdict) -> None:
    assert examine(paths, *answers).verdict is worst


def test_one_broken_check_does_not_hide_the_others(paths: Paths) -> None:
    error = NetworkError("nobody home", hint="knock")
    report = examine(paths, error, ZeroDivisionError("oops"), passed("fine"))
    assert [one.verdict for one in report.findings] == [Verdict.FAIL, Verdict.FAIL, Verdict.OK]
    assert (report.findings[0].evidence, report.findings[0].hint) == ("nobody home", "knock")
    assert "ZeroDivisionError: oops" in report.findings[1].evidence


def test_before_setup_the_stack_is_not_asked_for(paths: Paths) -> None:
    save_state(State(phase=Phase.SETUP), paths.state)
    checks = [Saying(failed("no database", "wait"), needs_setup=True), Saying(passed("here"))]
    report = run(paths, RecordedUnits(), checks=checks)
    assert [one.evidence for one in report.findings] == ["here"]


@pytest.mark.parametrize("damage", ["settings", "missing", "state"])
def test_damaged_files_are_findings(paths: Paths, damage: str) -> None:
    if damage == "settings":
        paths.settings.write_text("[owner\n")
    elif damage == "missing":
        paths.settings.unlink()
    else:
        paths.state.write_text("{")
    report = examine(paths, passed("fine"))
    assert report.verdict is Verdict.FAIL
    assert finding(report, "settings")[0] is Verdict.FAIL
    assert finding(report, "saying")[0] is Verdict.OK


def test_real_checks_on_an_appliance_where_nothing_runs(paths: Paths) -> None:
    """All at once: no data report, no agent, no server, no database; each says so itself."""
    report = run(paths, RecordedUnits())
    assert len(report.findings) == len(CHECKS)
    verdicts = {one.name: one.verdict for one in report.findings}
    broken = {"slot", "data", "agent", "database", "homeserver", "client"}
    assert {name for name in broken if verdicts[name] is not Verdict.FAIL} == set()
    assert verdicts["units"] is Verdict.OK
    for one in report.findings:
        assert one.evidence
        assert one.hint or one.verdict is Verdict.OK or one.name in ("slot", "client", "pages")


def test_data_report_of_the_initramfs_is_believed(paths: Paths) -> None:
    for report, verdict, words in (
        ("data=ok\n", (Verdict.OK, Verdict.WARN), "MiB free"),
        ("data=damaged\ndata_detail=bad superblock\n", (Verdict.FAIL,), "bad superblock"),
        ("data=missing\n", (Verdict.FAIL,), "missing"),
    ):
        paths.boot_report.write_text(report)
        found = finding(run(paths, RecordedUnits()), "data")
        assert found[0] in verdict
        assert words in found[1]


def test_a_key_that_others_can_read_is_a_failure(paths: Paths) -> None:
    [key] = paths.homeserver.rglob("signing.key")
    key.chmod(0o640)
    assert finding(run(paths, RecordedUnits()), "identity")[0] is Verdict.OK
    key.chmod(0o644)
    assert finding(run(paths, RecordedUnits()), "identity")[0] is Verdict.FAIL
    key.unlink()
    verdict, evidence = finding(run(paths, RecordedUnits()), "identity")
    assert verdict is Verdict.FAIL
    assert "is missing" in evidence


def test_failed_units_are_named(paths: Paths) -> None:
    class Failing(RecordedUnits):
        def failed(self) -> tuple[str, ...]:
            return ("hearth-synapse.service", "hearth-agent.service")

    verdict, evidence = finding(run(paths, Failing()), "units")
    assert verdict is Verdict.FAIL
    assert "hearth-synapse.service, hearth-agent.service" in evidence


def test_clock_before_the_image_was_made_is_wrong(paths: Paths) -> None:
    paths.image_facts.write_text("{}")
    os.utime(paths.image_facts, (time.time() + 86400,) * 2)
    assert finding(run(paths, RecordedUnits()), "clock")[0] is Verdict.FAIL
    os.utime(paths.image_facts, (0, 0))
    assert finding(run(paths, RecordedUnits()), "clock")[0] is Verdict.WARN
    stamp = paths.root / "run/systemd/timesync/synchronized"
    stamp.parent.mkdir(parents=True)
    stamp.touch()
    assert finding(run(paths, RecordedUnits()), "clock")[0] is Verdict.OK


def test_what_is_printed(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    save_state(State(phase=Phase.SETUP), paths.state)
    assert show_report(paths, as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "fail"
    assert show_report(paths, as_json=False) == 1
    text = capsys.readouterr().out
    assert "FAIL  Data partition" in text
    assert "not set up yet" in text
