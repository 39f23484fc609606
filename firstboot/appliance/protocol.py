"""What the UI may ask the agent: a small, typed, versioned set; nothing takes a path or a command.

One request per connection: a JSON line ``{"v": 1, "op": ..., "args": {...}}``, answered by
``{"ok": true, "result": {...}}`` or ``{"ok": false, "error": {...}}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, get_args

from appliance.aftercare import AFTERCARE_RESULTS, AftercareRequest
from appliance.answers import (
    Done,
    Draft,
    Federation,
    File,
    Providers,
    Rescue,
    Session,
    Status,
)
from appliance.errors import ConfigError, FieldError, HearthError, error_classes
from appliance.fate import FATE_RESULTS, FateRequest
from appliance.settings import Reach, Software, Way
from appliance.tables import parse_table, to_table
from appliance.updating import UPDATING_RESULTS, Updating, UpdatingRequest

# They belong to the protocol; whoever speaks it finds them here.
__all__ = [
    "Done", "Draft", "Federation", "File", "Providers", "Result", "Session", "Status",
]  # fmt: skip

VERSION = 1
MAX_LINE = 64 * 1024


# ---- requests -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class GetStatus:
    """Anyone: what the pages before the claim may show. Result: Status."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Prove that you hold the box. ``source`` is the browser's address. Result: Session."""

    code: str = field(repr=False)
    source: str


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """The owner's password, once setup is over. Result: Session."""

    password: str = field(repr=False)
    source: str


@dataclass(frozen=True, kw_only=True)
class SignOut:
    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class GetDraft:
    """What the wizard holds so far. Result: Draft (the password never comes back)."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SaveOwner:
    """Page "you". ``revision`` is the draft's that the page showed; an older one conflicts.

    An empty password keeps the one given before. Result: Draft.
    """

    session: str = field(repr=False)
    revision: int
    name: str
    timezone: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class StartNetworkCheck:
    """Measure what this connection allows; GetDraft tells the finding. Result: Done."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class PassNetwork:
    """The owner has seen page "network" and goes on, whatever it said. Result: Draft."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SaveServer:
    """Page "server name". Result: Draft."""

    session: str = field(repr=False)
    revision: int
    name: str
    reach: Reach


@dataclass(frozen=True, kw_only=True)
class GetProviders:
    """Anyone: what dynamic DNS providers are known, and what each asks for. Result: Providers."""


@dataclass(frozen=True, kw_only=True)
class SaveAddress:
    """Page "address", for a public server: who makes the name lead here. Result: Draft.

    ``provider`` is one of GetProviders' or OWN_DNS. An empty secret keeps the one given before to
    the same provider.
    """

    session: str = field(repr=False)
    revision: int
    provider: str
    name: str = ""
    username: str = ""
    endpoint: str = ""
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class StartAddressCheck:
    """Try token and name at the provider; GetDraft tells the finding. Result: Done."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SaveWay:
    """Page "way", for a public server: how the world gets in. ``port`` counts for Way.PORT only.

    Result: Draft.
    """

    session: str = field(repr=False)
    revision: int
    way: Way
    port: int


@dataclass(frozen=True, kw_only=True)
class SaveTunnel:
    """Page "tunnel", for Way.TUNNEL: the rented server's name or IPv4 address. Result: Draft."""

    session: str = field(repr=False)
    revision: int
    server: str
    port: int


@dataclass(frozen=True, kw_only=True)
class GetTunnelScript:
    """The rented server's half, to be pasted there; it holds that server's key. Result: File."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class StartTunnelCheck:
    """Try whether the rented server answers; GetDraft tells the finding. Result: Done."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SaveHomeserver:
    """Page "homeserver". Result: Draft."""

    session: str = field(repr=False)
    revision: int
    software: Software


@dataclass(frozen=True, kw_only=True)
class Apply:
    """Start (or, after a failure, go on with) provisioning. Result: Done."""

    session: str = field(repr=False)
    revision: int


@dataclass(frozen=True, kw_only=True)
class GetAuthority:
    """Anyone: the device's own CA certificate, for download. Result: File."""


Request = (
    GetStatus
    | Claim
    | SignIn
    | SignOut
    | GetDraft
    | SaveOwner
    | StartNetworkCheck
    | PassNetwork
    | SaveServer
    | GetProviders
    | SaveAddress
    | StartAddressCheck
    | SaveWay
    | SaveTunnel
    | GetTunnelScript
    | StartTunnelCheck
    | SaveHomeserver
    | Apply
    | GetAuthority
    | FateRequest
    | AftercareRequest
    | UpdatingRequest
)
Result = Status | Session | Draft | Providers | Federation | Rescue | Updating | Done | File
REQUESTS: dict[str, type[Request]] = {cls.__name__: cls for cls in get_args(Request)}
_DRAFT = (GetDraft, SaveOwner, PassNetwork, SaveServer, SaveAddress, SaveWay, SaveTunnel,
          SaveHomeserver)  # fmt: skip
_DONE = (SignOut, StartNetworkCheck, StartAddressCheck, StartTunnelCheck, Apply)
_FILE = (GetTunnelScript, GetAuthority)
RESULTS: dict[type[Request], type[Any]] = {
    GetStatus: Status,
    Claim: Session,
    SignIn: Session,
    GetProviders: Providers,
    **FATE_RESULTS,
    **AFTERCARE_RESULTS,
    **UPDATING_RESULTS,
    **dict.fromkeys(_DRAFT, Draft),
    **dict.fromkeys(_DONE, Done),
    **dict.fromkeys(_FILE, File),
}


# ---- the wire -------------------------------------------------------------------------------


def encode_request(request: Request) -> bytes:
    op = type(request).__name__
    return json.dumps({"v": VERSION, "op": op, "args": to_table(request)}).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises ConfigError for anything that is not exactly one of ours."""
    try:
        table = json.loads(line)
        version, op, arguments = table["v"], table["op"], table["args"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError("not a request") from error
    if version != VERSION or not isinstance(op, str) or op not in REQUESTS:
        raise ConfigError(f"request {op!r} of version {version!r} is not known")
    return parse_table(REQUESTS[op], arguments, where=op)


def encode_result(result: Result) -> bytes:
    return json.dumps({"ok": True, "result": to_table(result)}).encode() + b"\n"


def encode_error(error: HearthError) -> bytes:
    table = {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "field": error.field if isinstance(error, FieldError) else None,
    }
    return json.dumps({"ok": False, "error": table}).encode() + b"\n"


def decode_reply(request: Request, line: bytes) -> Any:
    """The result, or the agent's error raised here as the same class."""
    table = json.loads(line)
    if table["ok"]:
        return parse_table(RESULTS[type(request)], table["result"], where="reply")
    error = table["error"]
    if error["kind"] == FieldError.__name__:
        raise FieldError(error["field"], error["message"], hint=error["hint"])
    kinds = {cls.__name__: cls for cls in error_classes()}
    raise kinds.get(error["kind"], HearthError)(error["message"], hint=error["hint"])
