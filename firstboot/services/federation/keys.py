"""A server's published keys, verified as others do (server-server API, "Publishing Keys")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.federation.fetch import Fault, FetchError, Place, Web
from services.federation.sign import ALGORITHM, KEY_BYTES, decode_base64, is_signed

PATH = "/_matrix/key/v2/server"
OK = 200
# Canonical JSON knows no larger numbers (appendices); and Python makes no float of just any.
MAX_INTEGER = 2**53 - 1


class Flaw(StrEnum):
    """Why keys are not good. ``other``: they are another server's."""

    GARBLED = "garbled"
    OTHER = "other"
    OVER = "over"
    NONE = "none"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, kw_only=True)
class ServerKeys:
    """``identities`` are the current keys; ``valid_until`` is in seconds since the epoch."""

    server: str
    identities: tuple[str, ...]
    valid_until: float
    flaw: Flaw | None = None


def fetch_keys(web: Web, place: Place, name: str, *, now: float) -> ServerKeys:
    """Raises FetchError when there is no answer of a homeserver."""
    reply = web.get(place, PATH)
    if reply.status != OK:
        raise FetchError(Fault.STATUS, f"{PATH} answers with status {reply.status}")
    return check_keys(reply.json(), name, now=now)


def check_keys(table: Any, name: str, *, now: float) -> ServerKeys:
    """What the public federation tester checks: name, date, and each key's own signature."""
    if not _is_well_formed(table):
        return ServerKeys(server="", identities=(), valid_until=0.0, flaw=Flaw.GARBLED)
    keys = [(identity, entry["key"]) for identity, entry in table["verify_keys"].items()
            if identity.partition(":")[0] == ALGORITHM]  # fmt: skip
    server, until = str(table["server_name"]), table["valid_until_ts"] / 1000
    flaw: Flaw | None = None
    if server != name:
        flaw = Flaw.OTHER
    elif not keys:
        flaw = Flaw.NONE
    elif not all(_is_own(table, server, identity, key) for identity, key in keys):
        flaw = Flaw.UNSIGNED
    elif until <= now:
        flaw = Flaw.OVER
    return ServerKeys(
        server=server,
        identities=tuple(identity for identity, _ in keys),
        valid_until=until,
        flaw=flaw,
    )


def _is_well_formed(table: Any) -> bool:
    if not isinstance(table, Mapping):
        return False
    keys, until = table.get("verify_keys"), table.get("valid_until_ts")
    return (
        isinstance(table.get("server_name"), str)
        and isinstance(until, int)
        and 0 <= until <= MAX_INTEGER
        and isinstance(keys, Mapping)
        and all(
            isinstance(one, Mapping) and isinstance(one.get("key"), str) for one in keys.values()
        )
    )


def _is_own(table: Mapping[str, Any], server: str, identity: str, key: str) -> bool:
    try:
        public = decode_base64(key)
    except ValueError:
        return False
    return len(public) == KEY_BYTES and is_signed(table, server, identity, public)
