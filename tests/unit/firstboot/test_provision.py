"""The run of the steps: what is recorded, what is skipped, where it goes on after a cut."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.errors import NetworkError, StateError
from appliance.paths import Paths
from appliance.settings import load_secrets
from appliance.state import Phase, State, StepState, StepStatus, load_state, save_state
from firstboot.certificate import ensure_certificate
from firstboot.provision import provision
from firstboot.steps import STEPS
from firstboot.steps.certificate import IssueCertificate
from firstboot.steps.context import Context
from firstboot.steps.database import SetUpDatabase
from firstboot.steps.identity import MakeIdentity
from firstboot.steps.secrets import MakeSecrets
from services.database import cluster
from unit.services.appliance_files import SECRETS, RecordedUnits, make_appliance


class Cut(BaseException):
    """The power fails: nothing after this runs, no handler either."""


@dataclass
class Step:
    """A step over a file: done when the file is there, so that a run can be cut and resumed."""

    name: str
    file: Path
    title: str = "Working"
    error: BaseException | None = None
    seen: list[State] = field(default_factory=list)

    def is_done(self, context: Context) -> bool:
        return self.file.exists()

    def apply(self, context: Context) -> None:
        context.report("half-way")
        self.seen.append(load_state(context.paths.state))
        if self.error is not None:
            raise self.error
        self.file.touch()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return make_appliance(tmp_path)


def make_steps(paths: Paths) -> tuple[Step, Step, Step]:
    one, two, three = (Step(name, paths.root / name) for name in ("one", "two", "three"))
    return one, two, three


def states(paths: Paths) -> list[StepState]:
    return [status.state for status in load_state(paths.state).steps]


def run(paths: Paths, steps: tuple[Step, ...], times: list[float] | None = None) -> State:
    ticks = iter(times or [float(number) for number in range(100)])
    return provision(paths, RecordedUnits(), steps=steps, now=lambda: next(ticks))


def test_all_steps_in_order_end_ready(paths: Paths) -> None:
    steps = make_steps(paths)
    state = run(paths, steps)
    assert state == load_state(paths.state)
    assert state.phase is Phase.READY
    assert states(paths) == [StepState.DONE] * 3
    assert [status.ended > status.started for status in state.steps] == [True] * 3


def test_progress_is_on_the_card_while_a_step_runs(paths: Paths) -> None:
    one, two, three = make_steps(paths)
    run(paths, (one, two, three))
    [seen] = two.seen
    assert seen.phase is Phase.APPLYING
    assert [status.state for status in seen.steps] == [
        StepState.DONE,
        StepState.RUNNING,
        StepState.PENDING,
    ]
    assert seen.steps[1].detail == "half-way"
    assert load_state(paths.state).steps[1].detail == ""


def test_what_was_done_before_is_skipped(paths: Paths) -> None:
    one, two, three = make_steps(paths)
    two.file.touch()
    run(paths, (one, two, three))
    assert states(paths) == [StepState.DONE, StepState.SKIPPED, StepState.DONE]
    assert two.seen == []


def test_first_failure_wins_and_says_why(paths: Paths) -> None:
    one, two, three = make_steps(paths)
    two.error = NetworkError("port 443 does not answer", hint="plug it in")
    with pytest.raises(NetworkError):
        run(paths, (one, two, three))
    state = load_state(paths.state)
    assert state.phase is Phase.FAILED
    assert states(paths) == [StepState.DONE, StepState.FAILED, StepState.PENDING]
    assert (state.steps[1].error, state.steps[1].hint) == ("port 443 does not answer", "plug it in")
    assert three.seen == []


def test_an_unexpected_error_is_recorded_too(paths: Paths) -> None:
    one, two, three = make_steps(paths)
    one.error = ZeroDivisionError("division by zero")
    with pytest.raises(ZeroDivisionError):
        run(paths, (one, two, three))
    status = load_state(paths.state).steps[0]
    assert "ZeroDivisionError" in status.error
    assert "journalctl -u hearth-provision" in status.hint


def test_trying_again_goes_on_at_the_failure(paths: Paths) -> None:
    one, two, three = make_steps(paths)
    two.error = NetworkError("not yet")
    with pytest.raises(NetworkError):
        run(paths, (one, two, three))
    two.error = None
    state = run(paths, (one, two, three))
    assert state.phase is Phase.READY
    assert len(one.seen) == 1, "done means done"
    assert state.steps[1].error == ""
    assert states(paths) == [StepState.DONE] * 3


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_cut_in_any_step_is_made_good(paths: Paths, at: int) -> None:
    steps = make_steps(paths)
    steps[at].error = Cut()
    with pytest.raises(Cut):
        run(paths, steps)
    state = load_state(paths.state)
    assert state.phase is Phase.APPLYING, "the agent starts it again at the next boot"
    assert state.steps[at].state is StepState.RUNNING
    steps[at].error = None
    assert run(paths, steps).phase is Phase.READY
    assert states(paths) == [StepState.DONE] * 3


def test_steps_of_another_version_are_forgotten(paths: Paths) -> None:
    old = StepStatus(name="gone", title="Of an older version", state=StepState.DONE)
    save_state(State(phase=Phase.APPLYING, steps=(old,)), paths.state)
    assert [status.name for status in run(paths, make_steps(paths)).steps] == [
        "one",
        "two",
        "three",
    ]


def test_step_names_are_unique_and_titles_are_for_people() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)
    for step in STEPS:
        assert step.title.split()[0].endswith("ing"), step.title


def context(paths: Paths) -> Context:
    return Context(
        paths=paths, units=RecordedUnits(), report=lambda detail: None, start_seconds=1.0
    )


def test_only_missing_secrets_are_made(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    text = paths.secrets.read_text().replace(SECRETS.form_secret, "")
    paths.secrets.write_text(text)
    step = MakeSecrets()
    assert not step.is_done(context(paths))
    step.apply(context(paths))
    made = load_secrets(paths.secrets)
    assert made.macaroon_secret_key == SECRETS.macaroon_secret_key
    assert made.pending_password == SECRETS.pending_password
    assert len(made.form_secret) >= 32
    assert oct(paths.secrets.stat().st_mode)[-3:] == "600"
    assert step.is_done(context(paths))


def test_no_new_key_where_a_database_shows_that_there_was_one(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path, with_key=False)
    cluster(paths).mkdir(parents=True)
    (cluster(paths) / "PG_VERSION").write_text("17\n")
    assert not MakeIdentity().is_done(context(paths))
    with pytest.raises(StateError, match="is missing"):
        MakeIdentity().apply(context(paths))
    assert not paths.homeserver.exists()


def test_a_certificate_from_a_run_that_was_killed_is_read_by_nginx(paths: Paths) -> None:
    """It ended between writing the file and the reload."""
    ensure_certificate(paths, final=True)
    units = RecordedUnits("nginx.service")
    IssueCertificate().apply(replace(context(paths), units=units))
    assert units.acts == ["reload nginx.service"]


def test_a_foreign_directory_is_no_place_for_a_database(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    cluster(paths).mkdir(parents=True)
    (cluster(paths) / "somebody's file").touch()
    with pytest.raises(StateError, match="is not empty but is no database"):
        SetUpDatabase().apply(context(paths))
    assert (cluster(paths) / "somebody's file").exists()
