"""Matrix clients outside the VM: matrix-nio with real Olm and Megolm (vodozemac)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nio import (
    AsyncClient,
    AsyncClientConfig,
    EncryptionError,
    JoinResponse,
    LoginResponse,
    MatrixRoom,
    MegolmEvent,
    RoomCreateResponse,
    RoomMessageText,
    RoomSendResponse,
)

ENCRYPTED = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}
SYNC_MS = 5_000
ROUNDS = 40
HEAR_SECONDS = 240.0
REQUEST_SECONDS = 180


@contextmanager
def resolving(name: str) -> Iterator[None]:
    """``name`` leads to this host, as mDNS would lead to the appliance on a home network."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == name else host, *rest, **named)

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = real


def register(url: str, authority: Path, secret: str, name: str, password: str) -> None:
    """An account by the shared secret (Synapse admin API, "Shared-Secret Registration")."""
    context = ssl.create_default_context(cafile=authority)

    def ask(body: dict[str, Any] | None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{url}/_synapse/admin/v1/register",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, context=context, timeout=REQUEST_SECONDS) as reply:
            answer: dict[str, Any] = json.loads(reply.read())
            return answer

    nonce = ask(None)["nonce"]
    text = b"\0".join(part.encode() for part in (nonce, name, password, "notadmin"))
    mac = hmac.new(secret.encode(), text, hashlib.sha1).hexdigest()
    ask({"nonce": nonce, "username": name, "password": password, "admin": False, "mac": mac})


class Person:
    """One account on one device, with a key store that outlives the process."""

    def __init__(self, url: str, user: str, store: Path, authority: Path, *, e2e: bool) -> None:
        store.mkdir(parents=True, exist_ok=True)
        config = AsyncClientConfig(
            encryption_enabled=e2e, store_sync_tokens=True, request_timeout=REQUEST_SECONDS
        )
        context = ssl.create_default_context(cafile=authority)
        self.client = AsyncClient(url, user, store_path=str(store), config=config, ssl=context)
        self.heard: list[tuple[str, bool]] = []
        self._locked: list[MegolmEvent] = []
        self._is_first_sync = True
        self.client.add_event_callback(self._hear, RoomMessageText)
        self.client.add_event_callback(self._keep, MegolmEvent)

    async def _hear(self, _room: MatrixRoom, event: RoomMessageText) -> None:
        self.heard.append((event.body, bool(event.decrypted)))

    async def _keep(self, _room: MatrixRoom, event: MegolmEvent) -> None:
        """Between servers a message may come before its key; clients try again then."""
        self._locked.append(event)

    def _unlock(self) -> None:
        for event in list(self._locked):
            try:
                opened = self.client.decrypt_event(event)
            except EncryptionError:
                continue
            self._locked.remove(event)
            if isinstance(opened, RoomMessageText):
                self.heard.append((opened.body, True))

    async def login(self, password: str) -> None:
        answer = await self.client.login(password, device_name="test")
        assert isinstance(answer, LoginResponse), answer

    async def sync(self) -> None:
        """One round, with the key traffic that sync_forever() would do."""
        # With the whole state a server answers at once, whether there is news or not.
        await self.client.sync(timeout=SYNC_MS, full_state=self._is_first_sync)
        self._is_first_sync = False
        if not self.client.olm:
            return
        self._unlock()
        if self.client.should_upload_keys:
            await self.client.keys_upload()
        if self.client.should_query_keys:
            await self.client.keys_query()
        await self.client.send_to_device_messages()

    async def hear(self, body: str) -> bool:
        """Sync until ``body`` arrives; returns whether it came encrypted and was decrypted."""
        end = time.monotonic() + HEAR_SECONDS
        while time.monotonic() < end:
            await self.sync()
            for text, decrypted in self.heard:
                if text == body:
                    return decrypted
        state = f"heard {self.heard}, without a key for {len(self._locked)} more"
        raise AssertionError(f"{self.client.user_id} never heard {body!r}; {state}")

    async def see(self, room: str) -> None:
        """Sync until this client knows of a room that it has joined."""
        end = time.monotonic() + HEAR_SECONDS
        while room not in self.client.rooms:
            assert time.monotonic() < end, f"{self.client.user_id} never saw {room}"
            await self.sync()

    async def say(self, room: str, body: str) -> None:
        answer = await self.client.room_send(
            room,
            "m.room.message",
            {"msgtype": "m.text", "body": body},
            ignore_unverified_devices=True,
        )
        assert isinstance(answer, RoomSendResponse), answer


async def converse(one: Person, two: Person, *, e2e: bool, body: str) -> str:
    """``one`` opens a room for ``two`` and both speak; returns the room's ID."""
    await one.sync()
    await two.sync()
    created = await one.client.room_create(
        invite=[two.client.user_id], initial_state=[ENCRYPTED] if e2e else []
    )
    assert isinstance(created, RoomCreateResponse), created
    for _ in range(ROUNDS):
        await two.sync()
        if created.room_id in two.client.invited_rooms:
            break
    joined = await two.client.join(created.room_id)
    assert isinstance(joined, JoinResponse), joined
    for _ in range(ROUNDS):
        await one.sync()
        room = one.client.rooms.get(created.room_id)
        if room is not None and len(room.users) == 2:
            break
    await two.sync()
    await one.sync()
    await one.say(created.room_id, body)
    assert await two.hear(body) is e2e
    await two.say(created.room_id, f"re: {body}")
    assert await one.hear(f"re: {body}") is e2e
    return created.room_id


async def history(person: Person, room: str) -> list[str]:
    """What the room's past says to this device; encrypted events are decrypted by its keys."""
    await person.sync()
    answer = await person.client.room_messages(room, limit=50)
    return [event.body for event in answer.chunk if isinstance(event, RoomMessageText)]


def talk(coroutine: Any) -> Any:
    """Run it in a thread: Playwright keeps an event loop of its own in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()
