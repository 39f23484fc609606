"""One cheap signed request that tells another server that we are back.

A server that could not reach us waits before it tries again, up to a week and longer each time,
and a quiet one may never. Any request of ours that it accepts as signed ends that: Synapse resets
the waiting time and sends at once what it holds (synapse/federation/transport/server/_base.py,
authenticate_request), Dendrite does the same (federationapi/routing, FederationWakeups). What is
asked is the display name of somebody whom our users see anyway: it changes and stores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from appliance.deadline import Deadline
from appliance.errors import HearthError
from services.federation.fetch import FetchError, Reply, Web
from services.federation.lookup import Lookup
from services.federation.neighbours import Neighbour
from services.federation.resolve import resolve
from services.federation.sign import SigningKey, authorize

PATH = "/_matrix/federation/v1/query/profile"
OK, UNAUTHORIZED, SERVER_ERROR = 200, 401, 500
MAX_PLACES = 3
MAX_BODY = 64 * 1024
# For one server, with all its redirects, records and addresses: others are waiting.
SERVER_SECONDS = 30.0


class Outcome(StrEnum):
    """``refused``: it answers, but does not take us for who we say we are."""

    WOKEN = "woken"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, kw_only=True)
class Call:
    server: str
    target: str
    authorization: str = field(repr=False)


def prepare_calls(key: SigningKey, own: str, neighbours: Sequence[Neighbour]) -> tuple[Call, ...]:
    """All signed at once: the key need not be kept while strangers are listened to."""
    calls = []
    for one in neighbours:
        query = urlencode({"user_id": one.member, "field": "displayname"})
        target = f"{PATH}?{query}"
        authorization = authorize(
            key, origin=own, destination=one.server, method="GET", target=target
        )
        calls.append(Call(server=one.server, target=target, authorization=authorization))
    return tuple(calls)


def wake(web: Web, lookup: Lookup, call: Call) -> Outcome:
    """Never raises: what another server does wrong is no fault of ours."""
    deadline = Deadline(SERVER_SECONDS)
    web, lookup = replace(web, deadline=deadline), replace(lookup, deadline=deadline)
    try:
        places = resolve(web, lookup, call.server).places
    except HearthError:
        return Outcome.SILENT
    for place in places[:MAX_PLACES]:
        headers = {"Authorization": call.authorization}
        try:
            return _judge(web.get(place, call.target, headers=headers, limit=MAX_BODY))
        except FetchError:
            continue  # the next address
    return Outcome.SILENT


def _judge(reply: Reply) -> Outcome:
    if reply.status == UNAUTHORIZED:
        return Outcome.REFUSED
    if reply.status == OK or (reply.status < SERVER_ERROR and _is_matrix(reply)):
        return Outcome.WOKEN
    return Outcome.SILENT


def _is_matrix(reply: Reply) -> bool:
    """A refusal by a homeserver (client-server API, "Standard error response") came after it had
    looked at our signature; one by a proxy before it says nothing.
    """
    try:
        table: Any = reply.json()
    except FetchError:
        return False
    return isinstance(table, dict) and isinstance(table.get("errcode"), str)
