"""Page "updates": what runs, what is new, how far it is, and when the appliance may restart."""

from __future__ import annotations

import time

from flask import Blueprint, Response, jsonify, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import AccessError, HearthError
from appliance.release import Channel
from appliance.state import Phase
from appliance.update import Stage
from appliance.updating import (
    GetUpdates,
    InstallUpdate,
    LookForUpdate,
    RestartIntoUpdate,
    SaveUpdating,
    Updating,
    UpdatingRequest,
)
from setup_ui.context import agent, current_status, go, session_token, ui
from setup_ui.forms import Errors, errors_of
from setup_ui.pages.federation import render_age

bp = Blueprint("updates", __name__, url_prefix="/updates")

UNPROCESSABLE = 422
MEGABYTE = 1_000_000
HOURS = 24


@bp.get("")
def show() -> BaseResponse | str:
    if current_status().phase is not Phase.READY:
        return go("/")
    return _render({})


@bp.get("/state.json")
def show_state() -> Response:
    """``key`` changes when the page has something new to say; ``percent`` moves its bar."""
    it = _ask()
    key = f"{it.stage} {it.version} {it.is_busy} {it.offer.version if it.offer else ''}"
    return jsonify(key=key, percent=it.percent, message=it.message, instance=ui().instance)


@bp.post("/check")
def check() -> BaseResponse | tuple[str, int]:
    return _act(LookForUpdate(session=session_token()))


@bp.post("/install")
def install() -> BaseResponse | tuple[str, int]:
    version = request.form.get("version", "")
    return _act(InstallUpdate(session=session_token(), version=version))


@bp.post("/restart")
def restart() -> BaseResponse | tuple[str, int] | str:
    answer = _act(RestartIntoUpdate(session=session_token()))
    if isinstance(answer, tuple):
        return answer
    return render_template("restarting.html", instance=ui().instance)


@bp.post("/settings")
def save() -> BaseResponse | tuple[str, int]:
    first, last = request.form.get("first", ""), request.form.get("last", "")
    try:
        channel = Channel(request.form.get("channel", ""))
    except ValueError:
        channel = Channel.STABLE
    wish = SaveUpdating(
        session=session_token(),
        automatic=request.form.get("automatic") == "yes",
        channel=channel,
        window=f"{first}-{last}",
    )
    return _act(wish)


def _act(wish: UpdatingRequest) -> BaseResponse | tuple[str, int]:
    try:
        agent().ask(wish)
    except AccessError:
        raise
    except HearthError as error:
        return _render(errors_of(error, ("window",))), UNPROCESSABLE
    return go("/updates")


def _ask() -> Updating:
    """Raises AccessError without a session."""
    found: Updating = agent().ask(GetUpdates(session=session_token()))
    return found


def _render(errors: Errors) -> str:
    it = _ask()
    now = time.time()
    first, _, last = it.window.partition("-")
    return render_template(
        "updates.html",
        it=it,
        errors=errors,
        stages=Stage,
        looked=render_age(now - it.checked_at) if it.checked_at else "",
        hours=[f"{hour:02}:00" for hour in range(HOURS)],
        first=first,
        last=last,
        megabytes=round(it.offer.size / MEGABYTE) if it.offer else 0,
        history=[(one, render_age(now - one.at)) for one in it.history],
    )
