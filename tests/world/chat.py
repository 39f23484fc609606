"""People on two servers, with matrix-nio and real encryption, inside the Internet in a box.

Runs on the host's Python in the network namespace of a host of the box, without that host's
resolver: ``python -m world.chat ORDER``, a JSON object on the command line; prints what was heard.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from vm.matrix import ENCRYPTED, ROUNDS, Person


def lead(addresses: dict[str, str]) -> None:
    """Names lead to these addresses, and no others are known."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        return real(addresses.get(host, host), *rest, **named)

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]


async def join_and_talk(here: Person, there: Person, alias: str, *, e2e: bool) -> list[Any]:
    """``here`` opens a room with an alias, ``there`` joins by it, and both speak."""
    await here.sync()
    await there.sync()
    created = await here.client.room_create(
        alias=alias.removeprefix("#").partition(":")[0],
        initial_state=[
            {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "public"}},
            *([ENCRYPTED] if e2e else []),
        ],
    )
    joined = await there.client.join(alias)
    assert getattr(joined, "room_id", "") == created.room_id, (created, joined)
    for _ in range(ROUNDS):
        await here.sync()
        await there.sync()
        rooms = [one.client.rooms.get(created.room_id) for one in (here, there)]
        if all(room is not None and len(room.users) == 2 for room in rooms):
            break
    heard = []
    # Not the same words as in other rooms, which these people may be in as well.
    said = (here, there, f"supper is ready in {alias}"), (there, here, f"on my way to {alias}")
    for one, other, body in said:
        await one.say(created.room_id, body)
        heard.append(await other.hear(body))
    return [created.room_id, *heard]


async def main(order: dict[str, Any]) -> None:
    lead(order["addresses"])
    authority = Path(order["authority"])
    people = []
    with tempfile.TemporaryDirectory() as store:
        for number, (url, user, password) in enumerate(order["people"]):
            place = Path(store) / str(number)
            person = Person(url, user, place, authority, e2e=order["e2e"])
            await person.login(password)
            people.append(person)
        try:
            said = await join_and_talk(*people, order["alias"], e2e=order["e2e"])
        finally:
            for person in people:
                await person.client.close()
    print(json.dumps(said))


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
