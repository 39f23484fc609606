"""The progress page: read from ``state.json``, so that it works while the agent restarts."""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import Blueprint, Response, jsonify, render_template
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import ConfigError
from appliance.protocol import Apply
from appliance.state import Phase, State, StepState, StepStatus, load_state
from setup_ui.client import AgentDownError
from setup_ui.context import (
    agent,
    current_status,
    go,
    load_draft,
    require_session,
    session_token,
    ui,
)

bp = Blueprint("progress", __name__)

MINUTE = 60
WORDS = {
    StepState.PENDING: "Waiting",
    StepState.RUNNING: "Running",
    StepState.DONE: "Done",
    StepState.SKIPPED: "Already done",
    StepState.LATER: "Not yet",
    StepState.FAILED: "Failed",
}
OVER = (StepState.DONE, StepState.SKIPPED, StepState.LATER)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A step as the page shows it."""

    name: str
    title: str
    state: str
    word: str
    time: str
    detail: str
    error: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class View:
    """All that page and JSON show; ``next`` is where to go when there is nothing to watch."""

    phase: Phase
    rows: tuple[Row, ...]
    finished: int
    headline: str
    next: str
    agent_up: bool


@bp.get("/progress")
def show() -> BaseResponse | str:
    view = make_view(_state(), agent_up=agent().is_up(), now=time.time())
    if view.next:
        return go(view.next)
    _remember_status(view)
    return render_template("progress.html", view=view, instance=ui().instance)


@bp.get("/progress.json")
def show_json() -> Response:
    view = make_view(_state(), agent_up=agent().is_up(), now=time.time())
    return jsonify(
        phase=view.phase,
        steps=[vars(row) for row in view.rows],
        finished=view.finished,
        headline=view.headline,
        next=view.next,
        agent_up=view.agent_up,
        instance=ui().instance,
    )


@bp.post("/progress/retry")
def retry() -> BaseResponse:
    require_session()
    if current_status().phase is Phase.FAILED:  # a second click finds it running already
        agent().ask(Apply(session=session_token(), revision=load_draft().revision))
    return go("/progress")


def make_view(state: State, *, agent_up: bool, now: float) -> View:
    rows = tuple(_row(step, now) for step in state.steps)
    return View(
        phase=state.phase,
        rows=rows,
        finished=sum(step.state in OVER for step in state.steps),
        headline=_headline(state, agent_up=agent_up),
        next="" if state.phase in (Phase.APPLYING, Phase.FAILED) else "/",
        agent_up=agent_up,
    )


def render_time(seconds: float) -> str:
    """``8 s`` or ``2 min 05 s``; never negative, the clock may be set while a step runs."""
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    return f"{whole // MINUTE} min {whole % MINUTE:02d} s"


def _row(step: StepStatus, now: float) -> Row:
    ended = step.ended or now
    return Row(
        name=step.name,
        title=step.title,
        state=step.state.value,
        word=WORDS[step.state],
        time=render_time(ended - step.started) if step.started and step.state != "pending" else "",
        detail=step.detail,
        error=step.error,
        hint=step.hint,
    )


def _headline(state: State, *, agent_up: bool) -> str:
    if state.phase is Phase.FAILED:
        return "One step did not work. What was done before it stays done."
    if not agent_up:
        return "The appliance is restarting. Setup goes on by itself afterwards."
    running = [step.title for step in state.steps if step.state is StepState.RUNNING]
    number = sum(step.state in OVER for step in state.steps) + 1
    if running:
        return f"Step {min(number, len(state.steps))} of {len(state.steps)}: {running[0]}"
    return "Getting ready."


def _state() -> State:
    try:
        return load_state(ui().config.paths.state)
    except (ConfigError, OSError) as error:
        # Written atomically by the agent: unreadable means the data partition is not there (yet).
        raise AgentDownError(f"state.json cannot be read: {error}") from error


def _remember_status(view: View) -> None:
    """The footer's version comes from the agent; the page must not wait for it."""
    if view.agent_up and agent().last_status is None:
        try:
            agent().status()
        except AgentDownError:
            return
