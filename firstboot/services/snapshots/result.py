"""What was done with the database at the last start, and how far it is: for pages and verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import HearthError
from appliance.paths import Paths
from services.results import load_result, save_result
from services.snapshots.policy import Act

RESULT = "database"
REPORT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class DatabaseResult:
    """``running``: it goes on at this moment, and the homeserver waits for it. ``error`` is why the
    homeserver was not started. ``at`` is seconds since the epoch.
    """

    act: Act = Act.NOTHING
    identity: str = ""
    running: bool = False
    percent: int = 0
    detail: str = ""
    error: str = ""
    hint: str = ""
    at: float = 0.0


def drop_stale(paths: Paths) -> None:
    """Nothing is to be done: nothing is running any more, and what had failed is past."""
    known = load_result(paths, RESULT, DatabaseResult)
    if known is not None and (known.running or known.error):
        save_result(paths, RESULT, DatabaseResult(identity=known.identity, at=known.at))


class Reporter:
    """Writes the result: at once when it begins and ends, at most once a second in between."""

    def __init__(self, paths: Paths, now: Callable[[], float]) -> None:
        self._paths = paths
        self._now = now
        self._last = 0.0
        self._detail = ""

    def begin(self, detail: str) -> None:
        self._detail = detail
        self._save(DatabaseResult(running=True, detail=detail, at=self._now()))

    def percent(self, percent: int) -> None:
        if time.monotonic() - self._last >= REPORT_SECONDS:
            self._save(
                DatabaseResult(running=True, percent=percent, detail=self._detail, at=self._now())
            )

    def finish(self, act: Act, identity: str) -> DatabaseResult:
        result = DatabaseResult(act=act, identity=identity, detail=self._detail, at=self._now())
        if act is not Act.NOTHING:
            self._save(result)
        else:
            drop_stale(self._paths)
        return result

    def fail(self, error: HearthError) -> None:
        self._save(
            DatabaseResult(
                act=Act.REFUSE, error=error.message, hint=error.hint or "", at=self._now()
            )
        )

    def _save(self, result: DatabaseResult) -> None:
        self._last = time.monotonic()
        save_result(self._paths, RESULT, result)
