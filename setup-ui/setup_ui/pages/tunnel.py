"""Page "tunnel": which rented server; then its script to be pasted there, and the check."""

from __future__ import annotations

import base64
import io

from flask import Blueprint, Response, jsonify, render_template, send_file
from werkzeug.wrappers import Response as BaseResponse

from appliance.protocol import Draft, File, GetTunnelScript, SaveTunnel, StartTunnelCheck, Status
from appliance.settings import TUNNEL_PORT, Way
from setup_ui.context import agent, elsewhere, go, load_draft, session_token
from setup_ui.flow import next_page, resume_page
from setup_ui.forms import Errors, FormPage, Problem, Values

bp = Blueprint("tunnel", __name__, url_prefix="/setup/tunnel")
LONGEST_PORT = len("65535")


def _initial(draft: Draft, status: Status) -> Values:
    return {"server": draft.tunnel_server, "tunnel_port": str(draft.tunnel_port)}


def _check(values: Values, draft: Draft) -> Errors:
    """All else is the agent's."""
    if _port(values) is None:
        problem = Problem(message="Write the number of a port.", hint=f"for example {TUNNEL_PORT}")
        return {"tunnel_port": problem}
    return {}


def _port(values: Values) -> int | None:
    text = values["tunnel_port"] or str(TUNNEL_PORT)
    is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_PORT
    return int(text) if is_number else None


def _request(session: str, revision: int, values: Values) -> SaveTunnel:
    port = _port(values)
    return SaveTunnel(
        session=session,
        revision=revision,
        server=values["server"],
        port=TUNNEL_PORT if port is None else port,
    )


TUNNEL = FormPage(
    name="tunnel",
    fields=("server", "tunnel_port"),
    initial=_initial,
    check=_check,
    request=_request,
)


def _leave(draft: Draft) -> BaseResponse | None:
    """A redirect where there is no rented server to look after."""
    if draft.ways and draft.way is Way.TUNNEL and draft.tunnel_server:
        return None
    return go(f"/setup/{resume_page(draft)}")


@bp.get("/check")
def show() -> BaseResponse | str:
    leave = elsewhere()
    if leave is not None:
        return leave
    draft = load_draft()
    leave = _leave(draft)
    if leave is not None:
        return leave
    return render_template(
        "tunnel_check.html",
        step="server",
        found=draft.tunnel,
        draft=draft,
        script=_script()[1].decode(),
        next=next_page("tunnel/check", draft),
        errors={},
    )


@bp.get("/check.json")
def show_json() -> Response:
    return jsonify(state=load_draft().tunnel.state)


@bp.post("/check")
def check() -> BaseResponse:
    agent().ask(StartTunnelCheck(session=session_token()))
    return go("/setup/tunnel/check#check")


@bp.get("/script")
def download() -> BaseResponse:
    """The same text as a file, for who would rather copy that to the server."""
    leave = elsewhere() or _leave(load_draft())
    if leave is not None:
        return leave
    name, content = _script()
    response = send_file(
        io.BytesIO(content), mimetype="text/plain", as_attachment=True, download_name=name
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _script() -> tuple[str, bytes]:
    file: File = agent().ask(GetTunnelScript(session=session_token()))
    return file.name, base64.b64decode(file.content)
