"""Proof that a POST comes from a page of ours (OWASP: signed double-submit cookie).

The token is an HMAC keyed by a random cookie of this browser over the owner's session. It needs no
key on the server, so it outlives restarts; a cookie planted by a neighbouring host is of no use
without the session's token.
"""

from __future__ import annotations

import hmac
import secrets

from flask import g, request
from werkzeug.wrappers import Response

from setup_ui.context import cookie_name, session_token

COOKIE = "hearth_browser"
FIELD = "csrf"
MIN_COOKIE = 32


def make_token(browser: str, session: str) -> str:
    return hmac.digest(browser.encode(), session.encode(), "sha256").hex()


def csrf_token() -> str:
    """The token for forms of this response; gives the browser its cookie when it has none."""
    return make_token(_browser(), session_token())


def is_token_valid() -> bool:
    browser = request.cookies.get(cookie_name(COOKIE), "")
    if len(browser) < MIN_COOKIE:
        return False
    given = request.form.get(FIELD, "")
    return hmac.compare_digest(given.encode(), make_token(browser, session_token()).encode())


def keep_cookie(response: Response) -> Response:
    fresh = g.get("fresh_browser")
    if fresh:
        # Lax for the same reason as the session: with Strict, arriving by a link would replace
        # the cookie and break forms open in other tabs.
        response.set_cookie(
            cookie_name(COOKIE),
            fresh,
            httponly=True,
            samesite="Lax",
            secure=request.is_secure,
            path="/",
        )
    return response


def _browser() -> str:
    browser = request.cookies.get(cookie_name(COOKIE), "")
    if len(browser) >= MIN_COOKIE:
        return browser
    if "fresh_browser" not in g:
        g.fresh_browser = secrets.token_urlsafe(MIN_COOKIE)
    fresh: str = g.fresh_browser
    return fresh
