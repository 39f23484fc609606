"""Proving who you are: the claim code before setup is over, the owner's password afterwards."""

from __future__ import annotations

import contextlib

from flask import Blueprint, render_template, request
from werkzeug.wrappers import Response

from appliance.errors import AccessError, FieldError, HearthError
from appliance.protocol import Claim, Session, SignIn, SignOut
from appliance.state import Phase
from setup_ui.client import AgentDownError
from setup_ui.context import (
    agent,
    client_address,
    current_status,
    forget_session,
    go,
    remember_session,
    session_token,
)
from setup_ui.forms import Errors, Problem, problem_of

bp = Blueprint("access", __name__)

UNPROCESSABLE = 422


@bp.get("/claim")
def claim() -> Response | str:
    status = current_status()
    if status.phase is Phase.READY and status.data == "ok":
        return go("/sign-in")
    return render_template("claim.html", step="claim", code="", errors={}, ended=_ended())


@bp.post("/claim")
def check_claim() -> Response | tuple[str, int]:
    code = request.form.get("code", "").strip()
    if not code:
        errors = {"code": Problem(message="Type the claim code of this appliance.")}
        return _claim_again(code, errors)
    try:
        session: Session = agent().ask(Claim(code=code, source=client_address()))
    except (AccessError, FieldError) as error:
        return _claim_again(code, {"code": problem_of(error)})
    except HearthError as error:
        return _claim_again(code, {"": problem_of(error)})
    # With such a card there is nothing else that a claim would be for.
    target = {"found": "/found/erase", "damaged": "/reset"}.get(current_status().data, "/")
    return remember_session(go(target), session.token)


@bp.get("/sign-in")
def sign_in() -> Response | str:
    if current_status().phase in (Phase.UNCLAIMED, Phase.SETUP):
        return go("/claim")
    return render_template("sign_in.html", errors={}, ended=_ended())


@bp.post("/sign-in")
def check_sign_in() -> Response | tuple[str, int]:
    password = request.form.get("password", "")
    if not password:
        return _sign_in_again({"password": Problem(message="Type your password.")})
    try:
        session: Session = agent().ask(SignIn(password=password, source=client_address()))
    except (AccessError, FieldError) as error:
        return _sign_in_again({"password": problem_of(error)})
    except HearthError as error:
        return _sign_in_again({"": problem_of(error)})
    return remember_session(go("/"), session.token)


@bp.post("/sign-out")
def sign_out() -> Response:
    # Without the agent the session ends by its age; this browser forgets it now.
    with contextlib.suppress(AccessError, AgentDownError):
        agent().ask(SignOut(session=session_token()))
    return forget_session(go("/"))


def _ended() -> bool:
    return "ended" in request.args


def _claim_again(code: str, errors: Errors) -> tuple[str, int]:
    # The code is shown again: one wrong letter must not mean typing all of it anew.
    page = render_template("claim.html", step="claim", code=code, errors=errors, ended=False)
    return page, UNPROCESSABLE


def _sign_in_again(errors: Errors) -> tuple[str, int]:
    return render_template("sign_in.html", errors=errors, ended=False), UNPROCESSABLE
