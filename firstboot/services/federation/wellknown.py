"""/.well-known/matrix/server: to whom a server delegates (server-server API, "Resolving server
names", step 3).

Bounds are those of Synapse (50 KiB) and of browsers for redirects. Nothing is cached: who asks
here lives for one job only, and the check of our own server wants to see what is there now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from appliance.errors import ConfigError, NetworkError
from services.federation.fetch import Fault, FetchError, Place, Reply, Web
from services.federation.lookup import Lookup
from services.federation.servername import ServerName, is_literal, parse_server_name

PATH = "/.well-known/matrix/server"
MAX_BODY = 50 * 1024
MAX_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
OK = 200
HTTPS = 443


@dataclass(frozen=True, kw_only=True)
class WellKnown:
    """``server`` is the delegate; None with ``error`` when there is no valid answer.

    ``fault`` tells a server that cannot be reached from one that answers something else.
    """

    server: ServerName | None = None
    error: str = ""
    fault: Fault | None = None
    url: str = ""


def fetch_well_known(web: Web, lookup: Lookup, host: str) -> WellKnown:
    """As any other server would; never raises: an invalid answer is one step of the search."""
    url = f"https://{host}{PATH}"
    seen: set[str] = set()
    try:
        while True:
            if url in seen or len(seen) > MAX_REDIRECTS:
                raise FetchError(Fault.GARBLED, "it redirects in a circle")
            seen.add(url)
            reply = _get(web, lookup, url)
            if reply.status not in REDIRECTS:
                return WellKnown(server=read_well_known(reply), url=url)
            url = _follow(url, reply.headers.get("Location", ""))
    except FetchError as error:
        return WellKnown(error=str(error), fault=error.fault, url=url)
    except NetworkError as error:
        return WellKnown(error=error.message, fault=Fault.UNREACHABLE, url=url)


def read_well_known(reply: Reply) -> ServerName:
    """The delegate. Raises FetchError for whatever is not valid."""
    if reply.status != OK:
        raise FetchError(Fault.STATUS, f"status {reply.status}")
    table: Any = reply.json()
    server = table.get("m.server") if isinstance(table, dict) else None
    if not isinstance(server, str):
        raise FetchError(Fault.GARBLED, "JSON without m.server")
    try:
        return parse_server_name(server)
    except ConfigError as error:
        raise FetchError(Fault.GARBLED, error.message) from error


def _follow(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError:
        raise FetchError(Fault.GARBLED, f"it leads to {target[:80]!r}, which is no URL") from None


def _get(web: Web, lookup: Lookup, url: str) -> Reply:
    """From the first address that takes the connection."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or HTTPS
    except ValueError:
        raise FetchError(Fault.GARBLED, f"it leads to {url[:80]!r}, which is no URL") from None
    if parts.scheme != "https" or not host:
        # Others may follow this; but then anybody in between could say where a server is.
        raise FetchError(Fault.GARBLED, f"it leads to {url[:80]!r}, without encryption")
    addresses = (host,) if is_literal(host) else lookup.addresses(host)
    if not addresses:
        raise FetchError(Fault.UNREACHABLE, f"{host} has no address")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    header = parts.netloc.rpartition("@")[2]
    return get_from_any(web, [Place(address=one, port=port, name=host, host=header)
                              for one in addresses], path or "/", limit=MAX_BODY)  # fmt: skip


def get_from_any(web: Web, places: list[Place], path: str, *, limit: int) -> Reply:
    """Raises the last FetchError when no place gives an answer."""
    for number, place in enumerate(places, start=1):
        try:
            return web.get(place, path, limit=limit)
        except FetchError:
            if number == len(places):
                raise
    raise FetchError(Fault.UNREACHABLE, "there is no address to ask")
