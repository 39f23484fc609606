"""Where an update stands, and how the last ones ended: state.json and history.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from appliance.atomic import write_atomic
from appliance.errors import ConfigError
from appliance.log import logger
from appliance.paths import Paths
from appliance.tables import parse_table, to_table, without_unknown
from appliance.update import Outcome, Result, UpdateState
from services.owners import ensure_directory, find_owner

T = TypeVar("T")
READER = "hearth-ui"
KEPT = 20
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
    """The slot that proved itself last, as far as the history goes; empty where it says nothing."""
    committed = (one.slot for one in history if one.result is Result.COMMITTED)
    return next(committed, "")


def rolled_back(history: tuple[Outcome, ...]) -> dict[str, str]:
    """Versions that failed here, each with a sentence: not installed again by themselves."""
    found: dict[str, str] = {}
    for one in history:
        if one.result is Result.ROLLED_BACK and one.version not in found:
            because = f": {one.reason}" if one.reason else ""
            found[one.version] = f"{one.version} was tried here and did not work{because}"
    return found


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
