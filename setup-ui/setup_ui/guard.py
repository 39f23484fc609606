"""What is checked before any view runs, and the headers on everything that leaves."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, abort, g, request
from werkzeug.wrappers import Response

from appliance.hostname import host_name as own_name
from setup_ui import csrf
from setup_ui.client import AgentDownError
from setup_ui.context import agent, ui
from setup_ui.hosts import find_domains, host_name, is_host_ours
from setup_ui.onlink import NetworkCache, is_on_link

FORBIDDEN, MISDIRECTED = 403, 421

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with it browsers send "Origin: null" with our own forms (Fetch standard).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def install_guard(app: Flask) -> None:
    networks = NetworkCache()

    @app.before_request
    def check_request() -> None:
        g.client_address = _peer()
        if not is_on_link(g.client_address, networks.get()):
            abort(FORBIDDEN, "not-on-link")
        if not _is_host_ours(host_name(request.host)):
            abort(MISDIRECTED)
        if request.method == "POST":
            _check_post()

    @app.after_request
    def seal(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")
        return csrf.keep_cookie(response)


def _peer() -> str:
    """The browser's address. Only nginx reaches our Unix socket, so only there its word counts."""
    if request.environ.get("REMOTE_ADDR"):
        return str(request.environ["REMOTE_ADDR"])
    return request.headers.get("X-Real-IP", "")


def _is_host_ours(host: str) -> bool:
    """Answered from what is at hand; the agent is asked only about a name not known yet."""
    own, status = own_name(ui().config.paths), agent().last_status
    names = status.names if status else ()
    if is_host_ours(host, names=names, own=own, domains=()):
        return True
    if is_host_ours(host, names=names, own=own, domains=find_domains(ui().config.paths)):
        return True
    try:
        names = agent().status().names if host.endswith(".local") else ()
    except AgentDownError:
        return False
    return is_host_ours(host, names=names, own=own, domains=())


def _check_post() -> None:
    origin = request.headers.get("Origin")
    if origin is not None and _origin(origin) != (request.scheme, request.host.lower()):
        abort(FORBIDDEN, "cross-origin")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(FORBIDDEN, "cross-origin")
    if not csrf.is_token_valid():
        abort(FORBIDDEN, "stale-form")


def _origin(header: str) -> tuple[str, str]:
    try:
        parts = urlsplit(header)
    except ValueError:  # "http://[" and the like: nobody's
        return "", ""
    return parts.scheme, parts.netloc.lower()
