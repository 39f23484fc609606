"""Owner sessions: issued by the agent only, stored as hashes, ended by time or sign-out.

A Pi has no clock that survives a power cut, and the first answer from a time server may move it
by months. So a session's life is counted in seconds of the agent running; the calendar counts as
well only when the clock was synchronised both at the issue and now.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.deadline import Clock
from appliance.errors import AccessError, ConfigError
from appliance.log import logger
from appliance.tables import parse_table, to_table

LIFETIME = 24 * 3600.0
MAX_SESSIONS = 32
TOKEN_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class Entry:
    """``left``: seconds of running time at the last save; ``until``: epoch, 0 if not known."""

    digest: str
    left: float
    until: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SessionFile:
    version: int = 1
    sessions: tuple[Entry, ...] = ()


class Sessions:
    """``synchronised`` tells whether the calendar can be believed now."""

    def __init__(
        self,
        path: Path,
        *,
        synchronised: Callable[[], bool],
        clock: Clock = time,
        calendar: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._synchronised = synchronised
        self._clock = clock
        self._calendar = calendar
        self._lock = threading.Lock()
        self._counted = clock.monotonic()
        self._entries = self._load()

    def issue(self) -> str:
        """A new session's token: 256 random bits, told once and kept only as a hash."""
        token = base64.urlsafe_b64encode(os.urandom(TOKEN_BYTES)).decode().rstrip("=")
        until = self._calendar() + LIFETIME if self._synchronised() else 0.0
        entry = Entry(digest=_digest(token), left=LIFETIME, until=until)
        with self._lock:
            self._age()
            self._entries = (*self._entries, entry)[-MAX_SESSIONS:]
            self._save()
        return token

    def require(self, token: str) -> None:
        """Raises AccessError unless ``token`` is a live session."""
        with self._lock:
            self._age()
            if self._find(token) is None:
                message = "This browser is not signed in, or its session is over."
                raise AccessError(message, hint="sign in again")

    def end(self, token: str) -> None:
        with self._lock:
            entry = self._find(token)
            if entry is not None:
                self._entries = tuple(other for other in self._entries if other is not entry)
                self._save()

    def end_all(self) -> None:
        with self._lock:
            self._entries = ()
            self._save()

    def save(self) -> None:
        """Note the time that has passed; called when the agent stops."""
        with self._lock:
            self._age()
            if self._entries:
                self._save()

    def _find(self, token: str) -> Entry | None:
        digest = _digest(token)
        found = [entry for entry in self._entries if hmac.compare_digest(entry.digest, digest)]
        return found[0] if found else None

    def _age(self) -> None:
        now = self._clock.monotonic()
        passed, self._counted = max(0.0, now - self._counted), now
        today = self._calendar() if self._synchronised() else 0.0
        aged = (replace(entry, left=entry.left - passed) for entry in self._entries)
        self._entries = tuple(
            entry
            for entry in aged
            if entry.left > 0 and not (entry.until and today and today > entry.until)
        )

    def _load(self) -> tuple[Entry, ...]:
        """A damaged file costs a sign-in, not the appliance."""
        try:
            table = json.loads(self._path.read_text())
            return parse_table(SessionFile, table, where=self._path.name).sessions
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, ConfigError) as error:
            logger.warning("sessions are forgotten: %s is unreadable: %s", self._path, error)
            return ()

    def _save(self) -> None:
        table = to_table(SessionFile(sessions=self._entries))
        write_atomic(self._path, json.dumps(table) + "\n", mode=0o600)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
