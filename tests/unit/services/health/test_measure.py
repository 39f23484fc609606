"""What the verdict looks at, over files that are there, damaged or gone."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.errors import CommandError, DeadlineError
from appliance.paths import Paths
from appliance.state import Phase, State, save_state
from services.health.clock import ClockCheck
from services.health.data import WritableCheck
from services.health.result import CheckResult, Examination, failed, passed, warned
from services.health.trial import (
    OUTSIDE_NAMES,
    ROUND_SECONDS,
    Bearing,
    baseline_of,
    best_of,
    failing,
)
from services.health.verdict import BASELINE_SECONDS, OUTSIDE, Look, measure, measure_baseline
from services.homeserver import HOMESERVERS
from unit.clock import StillClock
from unit.services.appliance_files import OVERLAY, RecordedUnits, make_appliance


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


def test_of_failed_units_the_last_look_counts(paths: Paths) -> None:
    one, other = (measure(look(paths, units=(name,))) for name in ("x.service", "y.service"))
    both = baseline_of(best_of(one, other), 0.0)
    assert [name for name, well in both.passed.items() if not well] == ["unit y.service"]


def test_a_unit_that_had_failed_before_is_forgiven(paths: Paths) -> None:
    clock = StillClock()
    before = measure_baseline(paths, look=look(paths, units=("x.mount",)), clock=clock)
    assert before.measured_at == clock.time() == 1000.0 + BASELINE_SECONDS
    now = measure(look(paths, units=("x.mount", "y.service")))
    assert list(failing(now, before)) == ["unit y.service"]


@dataclass
class Slow:
    """A check, and a start, that pass only in the look number ``at``, and unless ``stays`` no more
    after it."""

    at: int
    stays: bool = True
    looks: int = 0
    name: str = "homeserver"
    title: str = "Homeserver"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        self.looks += 1
        well = self.looks == self.at or (self.stays and self.looks > self.at)
        return passed("") if well else failed("recovers", "")

    def unfinished(self) -> str:
        return "" if self.looks >= self.at else "still waits for hearth-synapse.service"


@pytest.mark.parametrize("stays", [True, False])
def test_what_is_still_starting_before_the_update_is_waited_for(paths: Paths, stays: bool) -> None:
    """A power cut just before: a homeserver that is slow to recover is none that does not work."""
    slow, clock = Slow(at=30, stays=stays), StillClock()
    waiting = Look(paths=paths, units=FailedUnits(), unfinished=slow.unfinished, ours=(slow,),
                   outside=())  # fmt: skip
    before = measure_baseline(paths, look=waiting, clock=clock)
    assert before.passed == {"settings": True, "systemd": True, "homeserver": True}
    assert slow.looks == 31, "one more, in which the start was over"
    assert clock.now == 1000.0 + 30 * ROUND_SECONDS
    sick = measure(Look(paths=paths, units=FailedUnits(), unfinished=str, ours=(Slow(at=99),),
                        outside=()))  # fmt: skip
    assert list(failing(sick, before)) == ["homeserver"]


def test_where_all_is_well_one_look_is_enough(paths: Paths) -> None:
    well, clock = Slow(at=1), StillClock()
    found = Look(paths=paths, units=FailedUnits(), unfinished=str, ours=(well,), outside=())
    assert all(measure_baseline(paths, look=found, clock=clock).passed.values())
    assert (well.looks, clock.now) == (1, 1000.0)


def test_what_never_works_is_known_within_the_units_time(paths: Paths) -> None:
    dead, clock = Slow(at=10_000), StillClock()
    found = Look(paths=paths, units=FailedUnits(), unfinished=str, ours=(dead,), outside=())
    assert not measure_baseline(paths, look=found, clock=clock).passed["homeserver"]
    assert BASELINE_SECONDS - ROUND_SECONDS <= clock.now - 1000.0 <= BASELINE_SECONDS
    unit = (OVERLAY / "usr/lib/systemd/system/hearth-update-restart.service").read_text()
    assert "TimeoutStartSec=20min\n" in unit
    assert BASELINE_SECONDS <= 20 * 60 / 2


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


@pytest.mark.parametrize("bearing", Bearing)
def test_a_warning_is_good_enough(paths: Paths, bearing: Bearing) -> None:
    checks = {"ours": (), "outside": (), bearing.value: (Answer(warned("not confirmed", "")),)}
    found = measure(Look(paths=paths, units=FailedUnits(), unfinished=str, **checks))
    assert (found["answer"].passed, found["answer"].bearing) == (True, bearing)


def test_a_clock_that_no_server_confirms_is_good_enough_and_an_early_one_is_not(
    paths: Paths,
) -> None:
    """The provider's bad night must not send a version back; a version that loses the time must."""

    def clock() -> dict[str, bool]:
        found = measure(Look(paths=paths, units=FailedUnits(), unfinished=str, ours=(),
                             outside=(ClockCheck(),)))  # fmt: skip
        return {"clock": found["clock"].passed}

    known = paths.last_time
    known.parent.mkdir(parents=True)
    assert clock() == {"clock": True}, "nothing is known"
    for file in (known, paths.image_facts):
        for seconds, passes in ((-86400.0, True), (3600.0, False), (-1.0, True)):
            file.touch()
            os.utime(file, (time.time() + seconds,) * 2)
            assert clock() == {"clock": passes}, (file, seconds)


def test_the_world_outside_is_the_clock_and_the_router() -> None:
    assert {check.name for check in OUTSIDE} == OUTSIDE_NAMES
    assert not {check.name for check in OUTSIDE} & {home.user for home in HOMESERVERS}


def test_data_that_were_not_mounted_or_cannot_be_written(paths: Paths) -> None:
    paths.boot_report.write_text("slot=B\ndata=damaged\ndata_detail=torn\n")
    assert "torn" in measure(look(paths, WritableCheck()))["data"].evidence
    paths.boot_report.write_text("slot=B\ndata=ok\n")
    paths.hearth.rename(paths.hearth.with_name("elsewhere"))
    assert not measure(look(paths, WritableCheck()))["data"].passed
