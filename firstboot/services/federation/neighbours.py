"""The other servers that share a room with ours, from the homeserver's own database.

Not from the admin API: Dendrite has none that tells, Synapse's needs an account's token, which we
keep nowhere. Both programs keep the present members of every room in a table of the same shape, and
root may read it as it reads everything of PostgreSQL's here: over the Unix socket, by peer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from appliance.errors import ConfigError
from appliance.log import logger
from appliance.paths import Paths
from services import database
from services.federation.servername import parse_server_name
from services.homeserver import Homeserver

# Those that share the smallest rooms come first: in a large room there is always somebody who
# speaks to them, in a family's there may be nobody but us.
MEMBERS = """
SET default_transaction_read_only = on;
WITH members AS (
    SELECT room_id, state_key AS member, substring(state_key FROM ':(.*)$') AS server
    FROM {table} WHERE type = 'm.room.member' AND membership = 'join'
), shared AS (
    SELECT room_id, count(DISTINCT server) AS size FROM members
    GROUP BY room_id HAVING bool_or(server = {own})
)
SELECT json_build_array(server, min(member)) FROM members JOIN shared USING (room_id)
WHERE server <> {own} GROUP BY server ORDER BY min(size), server LIMIT {limit}
"""


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """``member`` is one of its users, who shares a room with one of ours."""

    server: str
    member: str


def find_neighbours(
    paths: Paths, homeserver: Homeserver, own: str, *, limit: int
) -> tuple[Neighbour, ...]:
    """Those of the smallest rooms first, no more than ``limit``. Raises CommandError."""
    text = database.query(
        paths,
        MEMBERS.format(table=homeserver.state_table, own=_quote(own), limit=limit),
        database=homeserver.user,
    )
    return read_neighbours(text)


def read_neighbours(text: str) -> tuple[Neighbour, ...]:
    """What PostgreSQL answered; names that are none (others write these) are left out."""
    found = []
    for line in text.splitlines():
        server, member = json.loads(line)
        try:
            parse_server_name(server)
        except ConfigError as error:
            logger.debug("%s", error.message)
            continue
        found.append(Neighbour(server=server, member=member))
    return tuple(found)


def _quote(text: str) -> str:
    """A string literal (PostgreSQL manual 4.1.2.1); ours is a checked name all the same."""
    return "'" + text.replace("'", "''") + "'"
