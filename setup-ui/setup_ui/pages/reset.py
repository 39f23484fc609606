"""Factory reset: the typed word, whether to keep the data for a day, and the way back."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from werkzeug.wrappers import Response

from appliance.errors import AccessError, FieldError, HearthError
from appliance.fate import RESET_WORD, BringBack, FactoryReset
from appliance.state import Phase
from setup_ui.context import (
    agent,
    client_address,
    current_status,
    go,
    require_session,
    session_token,
    ui,
)
from setup_ui.forms import Errors, Problem, problem_of

bp = Blueprint("reset", __name__, url_prefix="/reset")

UNPROCESSABLE = 422


@bp.get("")
def show() -> Response | str:
    status = current_status()
    if status.data not in ("ok", "damaged"):
        return go("/")
    if not session_token():
        is_set_up = status.phase not in (Phase.UNCLAIMED, Phase.SETUP)
        return go("/sign-in" if is_set_up else "/claim")
    require_session()
    return _page(confirm="", keep="yes", errors={})


@bp.post("")
def reset() -> Response | tuple[str, int]:
    confirm = request.form.get("confirm", "").strip().lower()
    keep = request.form.get("keep", "no")
    if confirm != RESET_WORD:
        message = f"Type the word {RESET_WORD!r} to confirm."
        problem = Problem(message=message, hint="nothing has been reset")
        return _page(confirm=confirm, keep=keep, errors={"confirm": problem}), UNPROCESSABLE
    asked = FactoryReset(session=session_token(), confirm=confirm, keep=keep == "yes")
    try:
        agent().ask(asked)
    except AccessError:
        raise
    except FieldError as error:
        errors = {error.field: problem_of(error)}
        return _page(confirm=confirm, keep=keep, errors=errors), UNPROCESSABLE
    except HearthError as error:
        return _page(confirm=confirm, keep=keep, errors={"": problem_of(error)}), UNPROCESSABLE
    return _restarting()


@bp.get("/back")
def ask_back() -> Response | str:
    return go("/") if not current_status().kept_hours else _back_page({})


@bp.post("/back")
def bring_back() -> Response | tuple[str, int]:
    password = request.form.get("password", "")
    if not password:
        problem = Problem(message="Type the password of the owner of before the reset.")
        return _back_page({"password": problem}), UNPROCESSABLE
    asked = BringBack(password=password, source=client_address(), session=session_token())
    try:
        agent().ask(asked)
    except (AccessError, FieldError) as error:
        return _back_page({"password": problem_of(error)}), UNPROCESSABLE
    except HearthError as error:
        return _back_page({"": problem_of(error)}), UNPROCESSABLE
    return _restarting()


def _restarting() -> Response:
    return go(f"/restarting?was={ui().instance}")


def _page(*, confirm: str, keep: str, errors: Errors) -> str:
    return render_template(
        "reset.html",
        status=current_status(),
        confirm=confirm,
        keep=keep,
        errors=errors,
        word=RESET_WORD,
    )


def _back_page(errors: Errors) -> str:
    return render_template("reset_back.html", status=current_status(), errors=errors)
