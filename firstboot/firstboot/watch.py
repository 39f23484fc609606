"""Whether a job that was started has left its result: seen from the file alone."""

from __future__ import annotations

import time
from pathlib import Path

from appliance.answers import CheckState
from appliance.deadline import Clock

# Python alone takes seconds to start on a busy Pi 3; the measuring itself is done in ten.
JOB_SECONDS = 60.0

Mark = tuple[int, int, int]


class ResultWatch:
    """No clock of the calendar: it may be set while the job runs.

    Results are replaced by renaming (appliance.atomic), so a new one is another file.
    """

    def __init__(self, file: Path, *, clock: Clock = time, seconds: float = JOB_SECONDS) -> None:
        self._file = file
        self._clock = clock
        self._seconds = seconds
        self._before: Mark | None = None
        self._since: float | None = None

    def begin(self) -> None:
        """To be called before the job is started."""
        self._before = self._look()
        self._since = self._clock.monotonic()

    def state(self) -> CheckState:
        """``done`` also for a result of earlier, when nothing has been started since."""
        now = self._look()
        if self._since is None:
            return CheckState.NONE if now is None else CheckState.DONE
        if now is not None and now != self._before:
            return CheckState.DONE
        is_late = self._clock.monotonic() - self._since > self._seconds
        return CheckState.LOST if is_late else CheckState.RUNNING

    def _look(self) -> Mark | None:
        try:
            found = self._file.stat()
        except OSError:
            return None
        return (found.st_ino, found.st_mtime_ns, found.st_size)
