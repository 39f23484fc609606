"""Where an update stands, and how the last ones ended: state.json and history.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from appliance.atomic import write_atomic
from appliance.errors import ConfigError
from appliance.layout import SLOTS
from appliance.log import logger
from appliance.paths import Paths
from appliance.tables import parse_table, to_table, without_unknown
from appliance.update import Outcome, Result, UpdateState
from services.owners import ensure_directory, find_owner
from services.slots import other_slot

T = TypeVar("T")
READER = "hearth-ui"
KEPT = 20
RETRIES, RETRY_SECONDS = 2, 24 * 3600.0  # after faults from outside alone
STATE, HISTORY = "state.json", "history.json"


@dataclass(frozen=True, kw_only=True)
class History:
    """The newest outcome first."""

    outcomes: tuple[Outcome, ...] = ()


def load_update(paths: Paths) -> UpdateState:
    """IDLE where there is no file, or one that cannot be read: an update can be begun again.

    Fields of a newer version are passed over: both slots' programs read this file.
    """
    return _load(UpdateState, paths.update / STATE) or UpdateState()


def save_update(paths: Paths, state: UpdateState) -> None:
    _save(paths, STATE, state)


def load_history(paths: Paths) -> tuple[Outcome, ...]:
    found = _load(History, paths.update / HISTORY)
    return found.outcomes if found else ()


def add_outcome(paths: Paths, outcome: Outcome) -> None:
    """Put it first. The same one again, after a power cut between two writes, changes nothing."""
    known = load_history(paths)
    if known and _same(known[0], outcome):
        return
    _save(paths, HISTORY, History(outcomes=(outcome, *known)[:KEPT]))


def change_newest(paths: Paths, outcome: Outcome) -> None:
    """Replace the newest one by what became known later."""
    _save(paths, HISTORY, History(outcomes=(outcome, *load_history(paths)[1:])))


def last_committed(history: tuple[Outcome, ...]) -> str:
    """The slot that counts, as far as the history goes: the one that proved itself last, or that
    had to step in for it since; empty where it says nothing.
    """
    newest = find_started(history)
    if newest is None or newest.slot not in SLOTS:
        return ""
    return newest.slot if newest.result is Result.COMMITTED else other_slot(newest.slot)


def find_started(history: tuple[Outcome, ...]) -> Outcome | None:
    """The newest one of a version that was started at all."""
    return next((one for one in history if one.result is not Result.NOT_INSTALLED), None)


def rolled_back(history: tuple[Outcome, ...], now: float) -> dict[str, str]:
    """Versions that failed here, each with a sentence: not installed again by themselves.

    ``now`` in seconds since the epoch. What failed only for faults from outside (a router that was
    being updated in the same night) is tried again, not before the next day and RETRIES times.
    """
    failed: dict[str, list[Outcome]] = {}
    for one in history:
        if one.result is Result.ROLLED_BACK:
            failed.setdefault(one.version, []).append(one)
    found: dict[str, str] = {}
    for version, outcomes in failed.items():
        if not _may_be_tried_again(outcomes, now):
            because = f": {outcomes[0].reason}" if outcomes[0].reason else ""
            found[version] = f"{version} was tried here and did not work{because}"
    return found


def _may_be_tried_again(failed: list[Outcome], now: float) -> bool:
    """The newest first. A clock that was set back may have put it into the future."""
    is_over = abs(now - failed[0].at) >= RETRY_SECONDS
    return is_over and len(failed) <= RETRIES and all(one.outside for one in failed)


def _same(one: Outcome, other: Outcome) -> bool:
    """Whatever the clock said: the result of one update is written once."""
    return (one.result, one.version, one.from_version, one.slot, one.log) == (
        other.result, other.version, other.from_version, other.slot, other.log
    )  # fmt: skip


def _save(paths: Paths, name: str, value: object) -> None:
    ensure_directory(paths, paths.update, group=READER, mode=0o750)
    owner = find_owner(paths, "root", READER)
    text = json.dumps(to_table(value), indent=1) + "\n"
    write_atomic(paths.update / name, text, mode=0o640, owner=owner)


def _load(cls: type[T], file: Path) -> T | None:
    try:
        return parse_table(cls, without_unknown(cls, json.loads(file.read_text())), where=file.name)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ConfigError) as error:
        logger.warning("cannot use %s: %s", file, error)
        return None
