"""Rescue mode: neither version of the system starts as it should. What happened, and what now."""

from __future__ import annotations

import time

from flask import Blueprint, render_template
from werkzeug.wrappers import Response as BaseResponse

from appliance.aftercare import GetRescue, TryAgain
from appliance.answers import Rescue
from appliance.errors import AccessError
from appliance.state import Phase
from setup_ui.context import agent, current_status, go, session_token, ui
from setup_ui.pages.federation import render_age

bp = Blueprint("rescue", __name__, url_prefix="/rescue-mode")


@bp.get("")
def show() -> BaseResponse | str:
    status = current_status()
    if not status.rescue:
        return go("/")
    found, now = _ask(), time.time()
    ages = [render_age(now - one.at) for one in found.mishaps] if found else []
    is_set_up = status.phase not in (Phase.UNCLAIMED, Phase.SETUP)
    return render_template(
        "rescue_mode.html",
        found=found,
        ages=ages,
        way_in="/sign-in" if is_set_up else "/claim",
    )


@bp.post("/again")
def try_again() -> BaseResponse:
    agent().ask(TryAgain(session=session_token()))
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
