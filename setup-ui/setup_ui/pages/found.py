"""When the card holds an earlier Hearth's data, or data that is damaged or missing."""

from __future__ import annotations

from flask import Blueprint, render_template, request
from werkzeug.wrappers import Response

from appliance.errors import AccessError, FieldError, HearthError
from appliance.fate import ERASE_WORD, AdoptData, EraseData
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

bp = Blueprint("found", __name__)

UNPROCESSABLE = 422


@bp.get("/found")
def show() -> Response | str:
    return _elsewhere() or render_template("found.html", errors={})


@bp.post("/found/adopt")
def adopt() -> Response | tuple[str, int]:
    password = request.form.get("password", "")
    if not password:
        return _found_again({"password": Problem(message="Type the earlier owner's password.")})
    try:
        agent().ask(AdoptData(password=password, source=client_address()))
    except (AccessError, FieldError) as error:
        return _found_again({"password": problem_of(error)})
    except HearthError as error:
        return _found_again({"": problem_of(error)})
    return _restarting()


@bp.get("/found/erase")
def ask_erase() -> Response | str:
    leave = _elsewhere()
    if leave is not None:
        return leave
    if not session_token():
        return go("/claim")
    require_session()
    return render_template("erase.html", errors={}, confirm="", word=ERASE_WORD)


@bp.post("/found/erase")
def erase() -> Response | tuple[str, int]:
    confirm = request.form.get("confirm", "").strip().lower()
    if confirm != ERASE_WORD:
        message = f"Type the word {ERASE_WORD!r} to confirm."
        hint = "nothing has been erased"
        return _erase_again(confirm, {"confirm": Problem(message=message, hint=hint)})
    try:
        agent().ask(EraseData(session=session_token(), confirm=confirm))
    except AccessError:
        raise
    except FieldError as error:
        return _erase_again(confirm, {"confirm": problem_of(error)})
    except HearthError as error:
        return _erase_again(confirm, {"": problem_of(error)})
    return _restarting()


@bp.get("/rescue")
def rescue() -> Response | str:
    status = current_status()
    if status.data not in ("damaged", "missing"):
        return go("/")
    return render_template("rescue.html", status=status)


def _elsewhere() -> Response | None:
    return None if current_status().data == "found" else go("/")


def _restarting() -> Response:
    return go(f"/restarting?was={ui().instance}")


def _found_again(errors: Errors) -> tuple[str, int]:
    return render_template("found.html", errors=errors), UNPROCESSABLE


def _erase_again(confirm: str, errors: Errors) -> tuple[str, int]:
    page = render_template("erase.html", errors=errors, confirm=confirm, word=ERASE_WORD)
    return page, UNPROCESSABLE
