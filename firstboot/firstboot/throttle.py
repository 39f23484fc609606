"""Back-off for guesses at the claim code and the owner's password.

Two limits, and neither can lock the owner out:

* **Per source**: the first three wrong guesses from an address are free, then each makes it wait
  1, 2, 4 ... seconds, at most 60. A guess made too early is refused without being looked at and
  costs nothing, so an impatient owner never makes the wait longer. Right answers clear the record.
* **Global**, against someone with many addresses: two token buckets. Addresses with wrong guesses
  share one a second; addresses without any share five a second. An attacker who keeps failing thus
  cannot use up the owner's bucket; one who takes a fresh address for every guess only makes "try
  again in a second" more likely, and it is never held against the owner.

Arithmetic: at most 6 guesses a second at a 40-bit code is one chance in 2 million per day.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.deadline import Clock
from appliance.errors import AccessError

FREE_FAILURES = 3
MAX_DELAY = 60.0
MAX_SOURCES = 1024
FORGET_AFTER = 3600.0


@dataclass
class Bucket:
    """A token bucket: ``rate`` tokens a second, ``burst`` at most."""

    rate: float
    burst: float
    tokens: float
    filled: float

    def take(self, now: float) -> bool:
        self.tokens = min(self.burst, self.tokens + max(0.0, now - self.filled) * self.rate)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass
class Record:
    failures: int
    last: float


class Throttle:
    """Ask ``admit`` before looking at a guess; tell ``failed`` or ``succeeded`` afterwards.

    ``path`` (on a tmpfs) keeps the records over a restart of the agent. A reboot clears them, but
    takes about as long as the longest delay.
    """

    def __init__(self, path: Path | None = None, *, clock: Clock = time) -> None:
        self._clock = clock
        self._path = path
        self._lock = threading.Lock()
        now = clock.monotonic()
        self._fresh = Bucket(rate=5, burst=20, tokens=20, filled=now)
        self._failed = Bucket(rate=1, burst=10, tokens=10, filled=now)
        self._records = self._load(now)

    def admit(self, source: str) -> None:
        """Raises AccessError that says how long to wait."""
        with self._lock:
            now = self._clock.monotonic()
            record = self._records.get(source)
            if record is not None:
                wait = record.last + delay_after(record.failures) - now
                if wait > 0:
                    raise _too_early(wait, "Too many wrong answers from this browser's address.")
            if not (self._failed if record else self._fresh).take(now):
                raise _too_early(1, "Many wrong answers are coming in from other addresses.")

    def failed(self, source: str) -> None:
        with self._lock:
            now = self._clock.monotonic()
            record = self._records.pop(source, Record(0, now))
            self._records[source] = Record(record.failures + 1, now)
            self._forget(now)
            self._save(now)

    def succeeded(self, source: str) -> None:
        with self._lock:
            if self._records.pop(source, None):
                self._save(self._clock.monotonic())

    def _forget(self, now: float) -> None:
        old = [key for key, record in self._records.items() if now - record.last > FORGET_AFTER]
        # Insertion order is the order of the last failure: the oldest go first.
        surplus = list(self._records)[: max(0, len(self._records) - MAX_SOURCES)]
        for key in {*old, *surplus}:
            del self._records[key]

    def _load(self, now: float) -> dict[str, Record]:
        if self._path is None:
            return {}
        try:
            table = json.loads(self._path.read_text())
            return {
                str(source): Record(int(count), min(now, float(last)))
                for source, (count, last) in table.items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _save(self, now: float) -> None:
        """Only once somebody has used up the free guesses: a slip of the finger writes nothing."""
        worst = max((record.failures for record in self._records.values()), default=0)
        if self._path is None or worst < FREE_FAILURES:
            return
        table = {source: (record.failures, record.last) for source, record in self._records.items()}
        write_atomic(self._path, json.dumps(table), mode=0o600)


def delay_after(failures: int) -> float:
    """Seconds to wait after that many wrong guesses in a row."""
    beyond = failures - FREE_FAILURES
    return 0.0 if beyond < 0 else min(MAX_DELAY, 2.0 ** min(beyond, 10))


def _too_early(wait: float, why: str) -> AccessError:
    seconds = max(1, round(wait + 0.5))
    unit = "second" if seconds == 1 else "seconds"
    return AccessError(why, hint=f"wait {seconds} {unit}, then try again")
