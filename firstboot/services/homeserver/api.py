"""What both homeservers answer alike: health, versions, the first account, a login."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.errors import AccessError, ConflictError, NetworkError
from appliance.paths import Paths
from services.http import Answer, ask_https, ask_socket

if TYPE_CHECKING:
    from services.homeserver import Homeserver

REGISTER = "/_synapse/admin/v1/register"
HEALTH_SECONDS = 5
OK = 200
DEVICE_NAME = "Hearth (setup check)"


def is_healthy(homeserver: Homeserver, paths: Paths) -> bool:
    """Whether it serves now, by its own health path on its own socket."""
    try:
        answer = ask_socket(
            homeserver.socket(paths), homeserver.health_path, timeout=HEALTH_SECONDS
        )
    except NetworkError:
        return False
    return answer.status == OK


def create_admin(
    homeserver: Homeserver, paths: Paths, *, name: str, password: str, shared_secret: str
) -> None:
    """Register the administrator with the shared secret (Synapse's "Shared-Secret Registration").

    Dendrite offers the same endpoint. Raises ConflictError when the name is taken.
    """
    socket = homeserver.socket(paths)
    nonce = _expect(ask_socket(socket, REGISTER), "registration nonce")["nonce"]
    body = {
        "nonce": nonce,
        "username": name,
        "password": password,
        "admin": True,
        "mac": registration_mac(nonce, name, password, shared_secret),
    }
    answer = ask_socket(socket, REGISTER, body=body)
    if answer.status != OK and _error_code(answer) == "M_USER_IN_USE":
        raise ConflictError(f"the account {name!r} exists already")
    _expect(answer, f"account {name!r}")


def registration_mac(nonce: str, name: str, password: str, shared_secret: str) -> str:
    """HMAC-SHA1 over nonce, user, password and "admin", separated by NUL; SHA-1 is the API's."""
    message = "\0".join((nonce, name, password, "admin")).encode()
    return hmac.new(shared_secret.encode(), message, hashlib.sha1).hexdigest()


def check_login(server_name: str, *, name: str, password: str, authority: Path) -> str:
    """Log in through nginx as a client does, log out again; return the user ID. AccessError."""
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": name},
        "password": password,
        "initial_device_display_name": DEVICE_NAME,
    }
    answer = ask_https(server_name, "/_matrix/client/v3/login", authority=authority, body=body)
    if answer.status in (401, 403):
        raise AccessError(f"the homeserver refuses the login of {name!r}: {_said(answer)}")
    session = _expect(answer, f"login of {name!r}")
    ask_https(
        server_name,
        "/_matrix/client/v3/logout",
        authority=authority,
        body={},
        token=session["access_token"],
    )
    return str(session["user_id"])


def client_versions(server_name: str, *, authority: Path) -> tuple[str, ...]:
    """The specification versions offered to clients, asked through nginx."""
    answer = ask_https(server_name, "/_matrix/client/versions", authority=authority)
    return tuple(_expect(answer, "client versions")["versions"])


def _expect(answer: Answer, what: str) -> Any:
    if answer.status != OK:
        raise NetworkError(f"{what}: the homeserver answers {answer.status}: {_said(answer)}")
    return answer.json()


def _error_code(answer: Answer) -> str:
    try:
        return str(answer.json().get("errcode", ""))
    except (NetworkError, AttributeError):
        return ""


def _said(answer: Answer) -> str:
    return answer.body[:200].decode(errors="replace")
