"""The front door: everybody is sent to the page they belong to."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import AccessError, StateError
from appliance.protocol import Draft
from setup_ui.context import current_status, forget_session, go, load_draft, session_token, ui
from setup_ui.flow import entry_page

bp = Blueprint("front", __name__)


@bp.get("/")
def index() -> BaseResponse:
    ended, draft = "ended" in request.args, None
    if session_token():
        try:
            draft = load_draft()
        except StateError:
            draft = Draft()  # signed in, but setup is over
        except AccessError:
            ended = True
    page = entry_page(current_status(), draft)
    if draft is not None or not ended:
        return go(page)
    return forget_session(go(f"{page}?ended=1"))


@bp.get("/healthz")
def healthz() -> Response:
    """Whether this process serves; the agent is not asked."""
    return jsonify(ok=True)


@bp.get("/restarting")
def restarting() -> BaseResponse | str:
    """After a request that reboots: waits until another process than the one that sent here."""
    if request.args.get("was") != ui().instance:
        return go("/")
    return render_template("restarting.html", instance=ui().instance)
