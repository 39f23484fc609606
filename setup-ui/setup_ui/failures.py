"""Every failure as a page in the same design: what happened and what to do next."""

from __future__ import annotations

import logging

from flask import Flask, Response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import AccessError, HearthError
from setup_ui.client import AgentDownError
from setup_ui.context import forget_session, go

logger = logging.getLogger("hearth")

UNAVAILABLE, CONFLICT, SERVER_ERROR = 503, 409, 500

PAGES = {
    400: (
        "This request was not understood",
        "The browser sent something this page does not know.",
        "Go back and try again.",
    ),
    403: ("Not allowed", "This page is not for you.", "Go to the start page."),
    404: (
        "There is no such page",
        "The address may be mistyped, or the page belongs to another step.",
        "Go to the start page; setup goes on where you left it.",
    ),
    405: (
        "That does not work here",
        "This address takes only what its own form sends.",
        "Go to the start page; setup goes on where you left it.",
    ),
    413: (
        "That was too much",
        "What the browser sent is larger than any answer in this wizard can be.",
        "Go back and shorten what you typed.",
    ),
    421: (
        "This is not that server",
        "The browser used a name that is not one of this appliance. That may be a mistyped "
        "address, or a web page that tries to reach into your home network.",
        "Use the address on the appliance's screen, or its IP address.",
    ),
    500: (
        "Something went wrong inside the appliance",
        "This is a fault in Hearth, not in what you typed. Nothing was half-saved.",
        "Try again. If it stays, restart the appliance and look at its log.",
    ),
}
REASONS = {
    "not-on-link": (
        "Only from the home network",
        "This page answers only browsers on the same network as the appliance.",
        "Connect this phone or computer to the home network and open the page again.",
    ),
    "cross-origin": (
        "Refused: the form came from another site",
        "A page of another web site tried to send this form in your name.",
        "If it was you, open the appliance's own page and try there.",
    ),
    "stale-form": (
        "This form is too old",
        "The page was opened before the last sign-in, or the browser keeps no cookies. "
        "Nothing was changed.",
        "Go back, reload the page, and send it again. Cookies must be allowed for this address.",
    ),
}


def install_failures(app: Flask) -> None:
    app.register_error_handler(HTTPException, show_http)
    app.register_error_handler(AgentDownError, show_agent_down)
    app.register_error_handler(AccessError, show_access)
    app.register_error_handler(HearthError, show_expected)
    app.register_error_handler(Exception, show_unexpected)


def show_http(error: HTTPException) -> Response | tuple[str, int, dict[str, str]]:
    code = error.code or SERVER_ERROR
    title, message, hint = REASONS.get(str(error.description), PAGES.get(code, PAGES[400]))
    allow = {name: value for name, value in error.get_headers() if name == "Allow"}
    return _page(code, title, message, hint), code, allow


def show_agent_down(error: AgentDownError) -> tuple[str, int, dict[str, str]]:
    logger.warning("%s %s: %s", request.method, request.path, error)
    here = request.full_path.rstrip("?") if request.method == "GET" else "/"
    page = render_template("agent_down.html", here=here)
    return page, UNAVAILABLE, {"Retry-After": "5"}


def show_access(error: AccessError) -> BaseResponse | tuple[str, int]:
    """The session has ended or never was one: prove again who you are, then go on."""
    logger.info("%s %s: %s", request.method, request.path, error.message)
    if request.path == "/":  # the agent talks to nobody here: sending there again would not end
        return show_expected(error)
    return forget_session(go("/?ended=1"))


def show_expected(error: HearthError) -> tuple[str, int]:
    logger.warning("%s %s: %s", request.method, request.path, error.message)
    return _page(CONFLICT, "Not possible right now", error.message, error.hint or ""), CONFLICT


def show_unexpected(error: Exception) -> tuple[str, int]:
    """Our own fault. The traceback names code, never what was typed."""
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    return _page(SERVER_ERROR, *PAGES[SERVER_ERROR]), SERVER_ERROR


def _page(code: int, title: str, message: str, hint: str) -> str:
    return render_template("failure.html", code=code, title=title, message=message, hint=hint)
