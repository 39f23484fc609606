"""Two people with accounts on two homeservers, who meet in rooms and speak."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nio import JoinResponse, RoomCreateResponse, RoomPreset, RoomVisibility

from appliance.deadline import Deadline
from vm.elsewhere import Elsewhere
from vm.matrix import Person, converse, history

T = TypeVar("T")
TALK_SECONDS = 400.0
JOIN_SECONDS = 180.0


@dataclass(frozen=True)
class Account:
    url: str
    user: str
    password: str


class People:
    """The owner of the server under test, and a friend who has an account elsewhere."""

    def __init__(self, place: Elsewhere, owner: Person, friend: Person) -> None:
        self._place = place
        self._owner = owner
        self._friend = friend
        self._private = ""

    def join_by_alias(self, alias: str) -> str:
        """The owner opens a room for everybody; the friend knows only its name there."""
        return self._do(self._join_by_alias(alias))

    def talk(self, room: str, body: str, *, e2e: bool) -> None:
        """The owner speaks, the friend answers, and both hear it."""
        self._do(self._talk(room, body, e2e=e2e))

    def meet_in_private(self, body: str) -> None:
        """The owner invites the friend into an encrypted room, and they talk."""
        self._private = self._do(converse(self._owner, self._friend, e2e=True, body=body))

    def talk_in_private(self, body: str) -> None:
        self.talk(self._private, body, e2e=True)

    def owner_reads(self, room: str) -> list[str]:
        """What was said there, as the owner's server has it."""
        return self._do(history(self._owner, room))

    async def _join_by_alias(self, alias: str) -> str:
        owner, friend = self._owner.client, self._friend.client
        await self._owner.sync()
        made = await owner.room_create(
            alias=alias, visibility=RoomVisibility.public, preset=RoomPreset.public_chat
        )
        assert isinstance(made, RoomCreateResponse), made
        home = owner.user_id.partition(":")[2]
        # Busy cores answer later than the friend's server waits; then a friend presses again.
        deadline = Deadline(JOIN_SECONDS)
        while not isinstance(joined := await friend.join(f"#{alias}:{home}"), JoinResponse):
            assert not deadline.expired, joined
            await asyncio.sleep(2)
        assert joined.room_id == made.room_id
        for person in (self._owner, self._friend):
            await person.see(made.room_id)
        return str(made.room_id)

    async def _talk(self, room: str, body: str, *, e2e: bool) -> None:
        for speaker, listener, text in (
            (self._owner, self._friend, body),
            (self._friend, self._owner, f"re: {body}"),
        ):
            await speaker.say(room, text)
            assert await listener.hear(text) is e2e

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._place.do(coroutine, seconds=TALK_SECONDS)


@contextmanager
def gathering(
    place: Elsewhere, owner: Account, friend: Account, *, keys: Path, roots: Path
) -> Iterator[People]:
    """Both log in from ``place``; they trust the authorities in file ``roots``."""

    async def log_in(account: Account) -> Person:
        # nio's client belongs to the loop that it is made in.
        store = keys / account.user[1:].replace(":", "-")
        person = Person(account.url, account.user, store, roots, e2e=True)
        await person.login(account.password)
        return person

    with place, ExitStack() as stack:
        people = []
        for account in (owner, friend):
            person = place.do(log_in(account), seconds=TALK_SECONDS)
            stack.callback(lambda one=person: place.do(one.client.close(), seconds=30))
            people.append(person)
        yield People(place, *people)
