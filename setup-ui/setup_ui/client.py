"""A small synchronous client of the root agent: one connection, one line each way."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from appliance.answers import ProviderForm
from appliance.deadline import wait_until
from appliance.errors import ConfigError, DeadlineError
from appliance.protocol import (
    GetProviders,
    GetStatus,
    Providers,
    Request,
    Status,
    decode_reply,
    encode_request,
)

MAX_REPLY = 1024 * 1024
CONNECT_EVERY = 0.1


class AgentDownError(Exception):
    """The agent does not answer: it starts, restarts or hangs. Never a fault of the request.

    Outside the HearthError tree on purpose: it has no exit code and must not come out of
    ``decode_reply``.
    """


class AgentClient:
    """Asks the agent; remembers the last status for what every page shows (version, names)."""

    def __init__(self, path: Path, *, connect_seconds: float, reply_seconds: float) -> None:
        self.path = path
        self.connect_seconds = connect_seconds
        self.reply_seconds = reply_seconds
        self.last_status: Status | None = None
        self._forms: tuple[ProviderForm, ...] = ()

    def ask(self, request: Request) -> Any:
        """The result of ``request``.

        Raises AgentDownError, or the agent's own HearthError as the same class.
        """
        line = self._exchange(encode_request(request), self.connect_seconds)
        try:
            return decode_reply(request, line)
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            message = f"the agent's reply to {type(request).__name__} is not understood"
            raise AgentDownError(message) from error

    def status(self) -> Status:
        status: Status = self.ask(GetStatus())
        self.last_status = status
        return status

    def provider_forms(self) -> tuple[ProviderForm, ...]:
        """Asked once: they are part of the image."""
        if not self._forms:
            providers: Providers = self.ask(GetProviders())
            self._forms = providers.forms
        return self._forms

    def is_up(self) -> bool:
        """Whether the agent listens right now, without waiting for it."""
        connection = self._connect()
        if connection is None:
            return False
        connection.close()
        return True

    def _exchange(self, line: bytes, seconds: float) -> bytes:
        with self._wait_for_connection(seconds) as connection:
            connection.settimeout(self.reply_seconds)
            try:
                connection.sendall(line)
                with connection.makefile("rb") as reader:
                    reply: bytes = reader.readline(MAX_REPLY)
            except OSError as error:
                raise AgentDownError(f"the agent stopped answering: {error}") from error
        if not reply.endswith(b"\n"):
            raise AgentDownError("the agent closed the connection before it had answered")
        return reply

    def _wait_for_connection(self, seconds: float) -> socket.socket:
        """Only connecting is tried again: it changes nothing, a request might."""
        try:
            return wait_until(
                self._connect, seconds=seconds, what="an answer of the agent", every=CONNECT_EVERY
            )
        except DeadlineError as error:
            raise AgentDownError(f"{self.path} does not accept connections") from error

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.reply_seconds)
        try:
            connection.connect(str(self.path))
        except OSError:
            connection.close()
            return None
        return connection
