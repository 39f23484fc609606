"""Where an update stands: one file under /data, read after every reboot by whichever slot runs.

Both the old and the new slot's code read it, so a field is only ever added, with a default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Stage(StrEnum):
    """IDLE: nothing is going on. INSTALLING: the other slot is being written. INSTALLED: it waits
    for the reboot. TRIAL: it was chosen for the next boot, and no verdict has been passed yet.
    """

    IDLE = "idle"
    INSTALLING = "installing"
    INSTALLED = "installed"
    TRIAL = "trial"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What was so before the reboot: checks by name, and whether each passed then.

    An outage that was there before does not count against the update.
    """

    passed: dict[str, bool] = field(default_factory=dict)
    measured_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class UpdateState:
    """``slot`` and ``version`` are those being updated to. Times in seconds since the epoch.

    ``percent`` and ``message`` tell the progress of INSTALLING. ``snapshot`` names the database
    snapshot of before the trial, under Paths.snapshots. ``error`` is why the last attempt to
    install ended, in a sentence.
    ``source`` is where the bundle comes from (a URL or a file), ``transaction`` and ``manifest``
    RAUC's names for this installation and for exactly this bundle. ``by_hand``: the owner chose
    this one, and not the channel.
    """

    stage: Stage = Stage.IDLE
    version: str = ""
    slot: str = ""
    from_version: str = ""
    from_slot: str = ""
    since: float = 0.0
    percent: int = 0
    message: str = ""
    baseline: Baseline = field(default_factory=Baseline)
    snapshot: str = ""
    error: str = ""
    source: str = ""
    transaction: str = ""
    manifest: str = ""
    by_hand: bool = False


class Result(StrEnum):
    COMMITTED = "committed"
    ROLLED_BACK = "rolled-back"
    NOT_INSTALLED = "not-installed"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One line of the history. ``reason`` is a sentence, ``log`` a directory below failures.

    ``outside``: nothing failed but what the new version may not have been to blame for.
    """

    result: Result
    version: str
    from_version: str
    slot: str
    at: float
    reason: str = ""
    log: str = ""
    database: str = ""  # "kept" or "restored", after a roll-back
    outside: bool = False
