"""Rescue mode: neither version of the system starts as it should. What happened, and what now."""

from __future__ import annotations

import time

from flask import Blueprint, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from appliance.aftercare import RESTORE_WORD, GetRescue, RestoreDatabase, TryAgain
from appliance.answers import Rescue
from appliance.errors import AccessError, HearthError
from appliance.state import Phase
from setup_ui.context import agent, current_status, go, session_token, ui
from setup_ui.forms import Errors, errors_of
from setup_ui.pages.federation import render_age

bp = Blueprint("rescue", __name__, url_prefix="/rescue-mode")

UNPROCESSABLE = 422


@bp.get("")
def show() -> BaseResponse | str:
    return _page({}) if current_status().rescue else go("/")


@bp.post("/again")
def try_again() -> BaseResponse:
    agent().ask(TryAgain(session=session_token()))
    return _restarting()


@bp.post("/restore")
def restore() -> BaseResponse | tuple[str, int]:
    confirm = request.form.get("confirm", "")
    try:
        agent().ask(RestoreDatabase(session=session_token(), confirm=confirm))
    except AccessError:
        raise
    except HearthError as error:
        return _page(errors_of(error, ("confirm",))), UNPROCESSABLE
    return _restarting()


def _page(errors: Errors) -> str:
    found, now = _ask(), time.time()
    ages = [render_age(now - one.at) for one in found.mishaps] if found else []
    is_set_up = current_status().phase not in (Phase.UNCLAIMED, Phase.SETUP)
    return render_template(
        "rescue_mode.html",
        found=found,
        ages=ages,
        snapshot_age=render_age(now - found.restorable_at) if found else "",
        way_in="/sign-in" if is_set_up else "/claim",
        errors=errors,
        word=RESTORE_WORD,
    )


def _restarting() -> BaseResponse:
    return go(f"/restarting?was={ui().instance}")


def _ask() -> Rescue | None:
    """Logs are for the owner: None for everybody else, and once a session has ended."""
    token = session_token()
    if not token:
        return None
    try:
        found: Rescue = agent().ask(GetRescue(session=token))
    except AccessError:
        return None
    return found
