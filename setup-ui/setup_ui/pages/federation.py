"""Page "federation": whether other servers can talk to this one, what was seen, and a look now."""

from __future__ import annotations

import time

from flask import Blueprint, Response, jsonify, render_template
from werkzeug.wrappers import Response as BaseResponse

from appliance.aftercare import GetFederation, StartFederationCheck
from appliance.protocol import Federation
from appliance.state import Phase
from setup_ui.context import agent, current_status, go, session_token

bp = Blueprint("federation", __name__, url_prefix="/federation")

MINUTE, HOUR, DAY = 60, 3600, 86400


@bp.get("")
def show() -> BaseResponse | str:
    if current_status().phase is not Phase.READY:
        return go("/")
    found = _ask()
    now = time.time()
    return render_template(
        "federation.html",
        it=found,
        found=found.found,
        looked=render_age(now - found.at) if found.at else "",
        asked=render_age(now - found.asked) if found.asked else "",
    )


@bp.get("/state.json")
def show_state() -> Response:
    return jsonify(state=_ask().found.state)


@bp.post("/check")
def check() -> BaseResponse:
    agent().ask(StartFederationCheck(session=session_token()))
    return go("/federation")


def _ask() -> Federation:
    """Raises AccessError without a session."""
    found: Federation = agent().ask(GetFederation(session=session_token()))
    return found


def render_age(seconds: float) -> str:
    """How long ago, in one unit; the clock may have been set meanwhile."""
    for unit, size in (("day", DAY), ("hour", HOUR), ("minute", MINUTE)):
        number = int(seconds // size)
        if number > 0:
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"
