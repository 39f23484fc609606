"""What the verdict looks at, over files that are there, damaged or gone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import CommandError, DeadlineError
from appliance.paths import Paths
from appliance.state import Phase, State, save_state
from services.health.data import WritableCheck
from services.health.result import CheckResult, Examination, passed, warned
from services.health.trial import Bearing, baseline_of, failing
from services.health.verdict import OUTSIDE, Look, measure, measure_baseline
from services.homeserver import HOMESERVERS
from unit.services.appliance_files import RecordedUnits, make_appliance


@dataclass(frozen=True)
class Answer:
    """A check with a fixed answer."""

    result: CheckResult | Exception
    name: str = "answer"
    title: str = "Answer"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@dataclass
class FailedUnits(RecordedUnits):
    names: tuple[str, ...] = ()
    active: set[str] = field(default_factory=set)

    def failed(self) -> tuple[str, ...]:
        return self.names


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = make_appliance(tmp_path)
    save_state(State(phase=Phase.READY), made.state)
    made.boot_report.write_text("slot=B\ndata=ok\n")
    return made


def look(
    paths: Paths,
    *checks: Answer | WritableCheck,
    units: tuple[str, ...] = (),
    unfinished: str = "",
) -> Look:
    return Look(
        paths=paths,
        units=FailedUnits(units),
        unfinished=lambda: unfinished,
        ours=checks,
        outside=(),
    )


def test_all_is_well(paths: Paths) -> None:
    found = measure(look(paths, WritableCheck()))
    assert {name: probe.passed for name, probe in found.items()} == {
        "settings": True,
        "systemd": True,
        "data": True,
    }


def test_the_start_must_be_over(paths: Paths) -> None:
    probe = measure(look(paths, unfinished="still waits for hearth-synapse.service"))["systemd"]
    assert (probe.passed, probe.evidence) == (False, "still waits for hearth-synapse.service")


def test_each_failed_unit_counts_but_for_those_that_ask_the_world(paths: Paths) -> None:
    units = ("hearth-agent.service", "hearth-ddns.service", "hearth-update.service", "x.mount")
    found = measure(look(paths, units=units))
    assert {name for name, probe in found.items() if not probe.passed} == {
        "unit hearth-agent.service",
        "unit x.mount",
    }


def test_a_unit_that_had_failed_before_is_forgiven(paths: Paths) -> None:
    before = measure_baseline(paths, look=look(paths, units=("x.mount",)), now=1.0)
    now = measure(look(paths, units=("x.mount", "y.service")))
    assert list(failing(now, before)) == ["unit y.service"]


def test_a_systemd_that_does_not_answer(paths: Paths) -> None:
    def silent() -> str:
        raise DeadlineError("systemctl did not end within 60 s")

    found = measure(Look(paths=paths, units=FailedUnits(), unfinished=silent, ours=(), outside=()))
    assert not found["systemd"].passed


@pytest.mark.parametrize("text", ["nonsense", "", 'version = 1\nfuture = "x"\n'])
def test_settings_that_the_new_version_cannot_read(paths: Paths, text: str) -> None:
    paths.settings.write_text(text)
    found = measure(look(paths, Answer(passed(""), needs_setup=True)))
    assert not found["settings"].passed
    assert "answer" not in found


def test_settings_that_are_gone(paths: Paths) -> None:
    paths.settings.unlink()
    assert not measure(look(paths))["settings"].passed


def test_before_setup_there_is_less_to_look_at(paths: Paths) -> None:
    save_state(State(phase=Phase.SETUP), paths.state)
    paths.settings.unlink()
    found = measure(look(paths, Answer(passed(""), needs_setup=True), WritableCheck()))
    assert set(found) == {"settings", "systemd", "data"}
    assert all(probe.passed for probe in found.values())


def test_whatever_a_check_raises_is_its_answer(paths: Paths) -> None:
    for error in (CommandError("psql failed"), ValueError("no such column"), KeyError("x")):
        probe = measure(look(paths, Answer(error)))["answer"]
        assert not probe.passed
        assert str(error.args[0]) in probe.evidence


def test_a_warning_is_good_enough_for_ours_and_not_for_the_outside(paths: Paths) -> None:
    doubt = Answer(warned("not confirmed", ""))
    found = measure(
        Look(paths=paths, units=FailedUnits(), unfinished=str, ours=(doubt,), outside=())
    )
    assert found["answer"].passed
    found = measure(
        Look(paths=paths, units=FailedUnits(), unfinished=str, ours=(), outside=(doubt,))
    )
    assert not found["answer"].passed
    assert found["answer"].bearing is Bearing.OUTSIDE
    assert not failing(found, baseline_of(found, 0.0))


def test_the_world_outside_is_the_clock_and_the_router() -> None:
    assert [check.name for check in OUTSIDE] == ["clock", "router"]
    assert not {check.name for check in OUTSIDE} & {home.user for home in HOMESERVERS}


def test_data_that_were_not_mounted_or_cannot_be_written(paths: Paths) -> None:
    paths.boot_report.write_text("slot=B\ndata=damaged\ndata_detail=torn\n")
    assert "torn" in measure(look(paths, WritableCheck()))["data"].evidence
    paths.boot_report.write_text("slot=B\ndata=ok\n")
    paths.hearth.rename(paths.hearth.with_name("elsewhere"))
    assert not measure(look(paths, WritableCheck()))["data"].passed
