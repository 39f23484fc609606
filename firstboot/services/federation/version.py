"""Which homeserver program answers (server-server API, "Server implementation")."""

from __future__ import annotations

from typing import Any

from services.federation.fetch import Fault, FetchError, Place, Web

PATH = "/_matrix/federation/v1/version"
OK = 200
MAX_WORD = 60


def fetch_version(web: Web, place: Place) -> str:
    """Its name and version, for people. Raises FetchError."""
    reply = web.get(place, PATH)
    if reply.status != OK:
        raise FetchError(Fault.STATUS, f"{PATH} answers with status {reply.status}")
    table: Any = reply.json()
    server = table.get("server") if isinstance(table, dict) else None
    if not isinstance(server, dict):
        raise FetchError(Fault.GARBLED, f"{PATH} tells no server")
    words = [str(server.get(name, ""))[:MAX_WORD] for name in ("name", "version")]
    return " ".join(word for word in words if word) or "unnamed"
