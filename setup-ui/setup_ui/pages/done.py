"""After setup: how to log in, the certificate, and the owner's recovery file."""

from __future__ import annotations

import base64
import io

from flask import Blueprint, Response, render_template, request, send_file
from werkzeug.wrappers import Response as BaseResponse

from appliance.aftercare import MakeRecoveryFile
from appliance.errors import AccessError, FieldError, HearthError
from appliance.protocol import File, GetAuthority, Status
from appliance.state import Phase
from appliance.validate import MIN_PASSWORD
from setup_ui.context import agent, current_status, go, require_session, session_token
from setup_ui.flow import suggest_server_name
from setup_ui.forms import Errors, collect, problem_of
from setup_ui.qr import render_qr

bp = Blueprint("done", __name__)

UNPROCESSABLE = 422


@bp.get("/done")
def show() -> BaseResponse | str:
    """For the owner."""
    if current_status().phase is not Phase.READY:
        return go("/")
    require_session()
    return _render_login("done.html")


@bp.get("/connect")
def connect() -> BaseResponse | str:
    """For everybody at home: members need the certificate and the address, not a session."""
    if current_status().phase is not Phase.READY:
        return go("/")
    return _render_login("connect.html")


@bp.get("/hearth-authority.crt")
def authority() -> Response:
    """The device's own certificate authority, for phones and computers to trust.

    Inline, not as an attachment: iOS offers to install it only when it is opened.
    """
    file: File = agent().ask(GetAuthority())
    return send_file(
        io.BytesIO(base64.b64decode(file.content)),
        mimetype="application/x-x509-ca-cert",
        download_name="hearth-authority.crt",
    )


@bp.get("/recovery")
def recovery() -> BaseResponse | str:
    if current_status().phase is not Phase.READY:
        return go("/")
    require_session()
    return render_template("recovery.html", errors={}, least=MIN_PASSWORD)


@bp.post("/recovery")
def make_recovery() -> BaseResponse | tuple[str, int]:
    passphrase, repeat = request.form.get("passphrase", ""), request.form.get("repeat", "")
    errors = check_passphrase(passphrase, repeat)
    if errors:
        return _recovery_again(errors)
    try:
        file: File = agent().ask(MakeRecoveryFile(session=session_token(), passphrase=passphrase))
    except AccessError:
        raise
    except FieldError as error:
        return _recovery_again({"passphrase": problem_of(error)})
    except HearthError as error:
        return _recovery_again({"": problem_of(error)})
    return send_file(
        io.BytesIO(base64.b64decode(file.content)),
        mimetype="application/octet-stream",
        as_attachment=True,
        download_name=file.name,
    )


def check_passphrase(passphrase: str, repeat: str) -> Errors:
    return collect([lambda: _check_length(passphrase), lambda: _check_same(passphrase, repeat)])


def _check_length(passphrase: str) -> None:
    if len(passphrase) < MIN_PASSWORD:
        message = f"This passphrase has {len(passphrase)} characters; {MIN_PASSWORD} is the least."
        hint = "four random words are easy to remember"
        raise FieldError("passphrase", message, hint=hint)


def _check_same(passphrase: str, repeat: str) -> None:
    if passphrase != repeat:
        message = "The two passphrases differ."
        raise FieldError("repeat", message, hint="type both again")


def _render_login(template: str) -> str:
    status = current_status()
    link = connect_url(status)
    return render_template(
        template,
        status=status,
        addresses=login_addresses(status),
        link=link,
        qr=render_qr(link),
    )


def login_addresses(status: Status) -> tuple[str, ...]:
    """What to type into Element at home, best first.

    A name that the owner holds for later leads nowhere at home yet; our own mDNS names and our
    address serve the same homeserver (overlays: nginx/https.conf.j2).
    """
    if status.is_settled:
        return (status.client_url,)
    name = status.server_name
    if name not in status.names:
        name = suggest_server_name(status) or name
    numbers = [address for address in status.addresses if ":" not in address]
    return (f"https://{name}", *(f"https://{address}" for address in numbers[:1]))


def connect_url(status: Status) -> str:
    """What the QR code leads to: the help page by address, which also phones without mDNS reach.

    Android before 12 does not resolve ``.local`` names (architecture.md section 8).
    """
    host = next((address for address in status.addresses if ":" not in address), "")
    return f"http://{host or request.host}/connect"


def _recovery_again(errors: Errors) -> tuple[str, int]:
    return render_template("recovery.html", errors=errors, least=MIN_PASSWORD), UNPROCESSABLE
