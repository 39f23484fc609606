"""An updater that does not work must not be committed; RAUC's answers are played."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from firstboot import update, verdict
from firstboot.update_health import UpdateCheck, look_at_all
from services.health.trial import Probe, baseline_of, failing
from services.health.verdict import OURS, Look, measure
from unit.services.appliance_files import RecordedUnits
from unit.services.update.bench import Bench, make_installed


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return make_installed(tmp_path, monkeypatch)


def probe(bench: Bench) -> Probe:
    look = Look(paths=bench.paths, units=RecordedUnits(), unfinished=lambda: "",
                ours=(UpdateCheck(),), outside=())  # fmt: skip
    return measure(look)["update"]


def test_one_that_works(bench: Bench) -> None:
    found = probe(bench)
    assert found.passed, found.evidence
    assert "RAUC answers" in found.evidence


def test_a_rauc_that_does_not_start_counts_against_the_version(bench: Bench) -> None:
    before = baseline_of({"update": probe(bench)}, 1.0)
    (bench.rauc / "dead").touch()
    found = probe(bench)
    assert not found.passed
    assert "not provided by any .service" in found.evidence
    assert list(failing({"update": found}, before)) == ["update"]


@pytest.mark.parametrize("module", ["firstboot.update", "firstboot.update_plan"])
def test_code_that_cannot_be_loaded_counts_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    found = probe(bench)
    assert not found.passed
    assert module in found.evidence


def test_a_plan_that_cannot_be_made_counts_too(bench: Bench) -> None:
    text = bench.paths.settings.read_text()
    bench.paths.settings.write_text(text.replace("home.example.org", "home.example.org\\q"))
    assert not probe(bench).passed


def test_it_is_asked_before_the_trial_and_by_the_verdict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = look_at_all(bench.paths)
    assert look.ours == (*OURS, UpdateCheck())
    asked = replace(look, units=RecordedUnits(), unfinished=lambda: "",
                    ours=look.ours[-1:], outside=())  # fmt: skip
    monkeypatch.setattr("firstboot.update_health.look_at_all", lambda _: asked)
    baseline = update.Desk(paths=bench.paths).measure(bench.paths)
    assert baseline.passed["update"] is True
    seen: list[set[str]] = []
    monkeypatch.setattr(verdict, "look_at_all", lambda _: asked)
    monkeypatch.setattr(verdict, "pass_verdict", lambda one: seen.append(set(one.measure())) or 0)
    assert verdict.run_verdict(bench.paths) == 0
    assert "update" in seen[0]
