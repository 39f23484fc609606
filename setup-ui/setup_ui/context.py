"""What a view may reach: the agent, this request's status and the owner's session."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from flask import Response, current_app, g, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import AccessError, StateError
from appliance.protocol import Draft, GetDraft, Status
from appliance.state import Phase
from setup_ui.client import AgentClient
from setup_ui.config import UiConfig
from setup_ui.flow import entry_page

SESSION_COOKIE = "hearth_session"
SESSION_SECONDS = 24 * 3600  # phones end their browser at will; the agent has the last word
SEE_OTHER = 303


@dataclass(frozen=True, kw_only=True)
class Ui:
    """One per process. ``instance`` tells a page whether the appliance was restarted."""

    config: UiConfig
    agent: AgentClient
    instance: str = field(default_factory=lambda: f"{time.time():.3f}")


def ui() -> Ui:
    found: Ui = current_app.extensions["hearth"]
    return found


def agent() -> AgentClient:
    return ui().agent


def current_status() -> Status:
    """The status, asked once per request. Raises AgentDownError."""
    if "status" not in g:
        g.status = agent().status()
    status: Status = g.status
    return status


def known_status() -> Status | None:
    """The status as far as known, for what must also render while the agent is away."""
    return g.get("status") or agent().last_status


def cookie_name(name: str) -> str:
    """``name`` as the browser keeps it for this connection.

    HTTP and HTTPS have cookies of their own: a browser refuses a plain one in place of a Secure one
    of the same name, so whoever had been on HTTPS could not go on over HTTP. And __Host- keeps out
    what a neighbouring host or plain HTTP might have planted (RFC 6265bis, 4.1.3.2 and 5.7).
    """
    return f"__Host-{name}" if request.is_secure else name


def session_token() -> str:
    return request.cookies.get(cookie_name(SESSION_COOKIE), "")


def load_draft() -> Draft:
    """What the wizard holds for this browser's session. Raises AccessError without a session."""
    token = session_token()
    if not token:
        raise AccessError("This browser is not signed in.")
    draft: Draft = agent().ask(GetDraft(session=token))
    return draft


def elsewhere() -> BaseResponse | None:
    """A redirect when the wizard is not what this appliance is at."""
    status = current_status()
    if status.data == "ok" and status.phase is Phase.SETUP:
        return None
    return go(entry_page(status, None))


def require_session() -> None:
    """Raises AccessError unless this browser is signed in."""
    try:
        load_draft()
    except StateError:
        return  # the session is good; there is just no draft any more


def client_address() -> str:
    """The browser's address as checked by ``guard``."""
    address: str = g.client_address
    return address


def go(location: str) -> BaseResponse:
    """303, so that the browser follows with GET and reload never repeats a POST (RFC 9110)."""
    return redirect(location, code=SEE_OTHER, Response=Response)


def remember_session(response: BaseResponse, token: str) -> BaseResponse:
    """Hand the agent's token to the browser.

    Lax, not Strict: GET pages change nothing and every POST needs a CSRF token and our Origin, so
    Strict would add no protection; but it would show an owner who comes from a link (a note to
    self, a chat) as signed out, and teach typing the claim code or password once more.
    """
    response.set_cookie(
        cookie_name(SESSION_COOKIE),
        token,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
        path="/",
    )
    return response


def forget_session(response: BaseResponse) -> BaseResponse:
    response.delete_cookie(
        cookie_name(SESSION_COOKIE),
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
        path="/",
    )
    return response
