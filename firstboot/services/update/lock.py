"""One update at a time, whoever started it: a timer, the dashboard, a stick or a person."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from appliance.deadline import wait_until
from appliance.errors import ConflictError, DeadlineError
from appliance.paths import Paths


@contextmanager
def update_lock(paths: Paths, *, seconds: float = 0.0) -> Iterator[None]:
    """Raises ConflictError where another process is at it, and still is after ``seconds``."""
    paths.runtime.mkdir(parents=True, exist_ok=True)
    with _file(paths).open("w") as lock:
        try:
            wait_until(lambda: _is_taken(lock), seconds=seconds, what="the other update's end")
        except DeadlineError:
            message = "an update is under way already"
            raise ConflictError(message, hint="look at: hearthctl update status") from None
        yield


def _is_taken(lock: IO[str]) -> bool:
    """Whether it is ours now."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_update_running(paths: Paths) -> bool:
    """Whether some process holds the lock at this moment."""
    try:
        with _file(paths).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _file(paths: Paths) -> Path:
    return paths.runtime / "update.lock"
