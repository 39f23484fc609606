"""Where an update stands and how the last ones ended: two files, read by either slot's code.

A newer version may have added a field, and this one reads its file after a roll-back: what is not
known here is passed over.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from appliance.atomic import write_atomic
from appliance.errors import ConfigError, ConflictError
from appliance.log import logger
from appliance.paths import Paths
from appliance.tables import parse_table, to_table
from appliance.update import Outcome, Result, UpdateState
from services.owners import ensure_directory, find_owner

READER = "hearth-ui"
KEPT_OUTCOMES = 20
T = TypeVar("T")


def load_update(paths: Paths) -> UpdateState:
    """IDLE where there is no file, or none that can be understood."""
    file = state_file(paths)
    try:
        return parse_known(UpdateState, json.loads(file.read_text()), where=file.name)
    except FileNotFoundError:
        return UpdateState()
    except (OSError, ValueError, ConfigError) as error:
        logger.warning("cannot use %s: %s", file, error)
        return UpdateState()


def save_update(paths: Paths, state: UpdateState) -> None:
    _write(paths, state_file(paths), to_table(state))


def load_history(paths: Paths) -> tuple[Outcome, ...]:
    """Newest first; an entry that cannot be understood is left out."""
    file = history_file(paths)
    try:
        entries = json.loads(file.read_text())["outcomes"]
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("cannot use %s: %s", file, error)
        return ()
    found = []
    for entry in entries if isinstance(entries, list) else ():
        try:
            found.append(parse_known(Outcome, entry, where=file.name))
        except ConfigError as error:
            logger.warning("%s", error.message)
    return tuple(found)


def add_outcome(paths: Paths, outcome: Outcome) -> None:
    """Put first; the same one twice (after a power cut) is one."""
    history = load_history(paths)
    if history and dataclasses.replace(history[0], at=outcome.at) == outcome:
        return
    kept = (outcome, *history)[:KEPT_OUTCOMES]
    _write(paths, history_file(paths), {"outcomes": [to_table(one) for one in kept]})


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


@contextmanager
def update_lock(paths: Paths) -> Iterator[None]:
    """Never two at once. Raises ConflictError where another process is at it."""
    paths.runtime.mkdir(parents=True, exist_ok=True)
    with (paths.runtime / "update.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = "an update is under way already"
            raise ConflictError(message, hint="look at: hearthctl update status") from None
        yield


def is_update_running(paths: Paths) -> bool:
    """Whether some process holds the lock at this moment."""
    try:
        with (paths.runtime / "update.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def parse_known(cls: type[T], table: Any, *, where: str) -> T:
    """parse_table without what ``cls`` does not know, in nested tables too."""
    return parse_table(cls, _known(cls, table), where=where)


def _known(cls: type[Any], table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    hints = typing.get_type_hints(cls)
    known = {name: value for name, value in table.items() if name in hints}
    for name, value in known.items():
        if dataclasses.is_dataclass(hints[name]):
            known[name] = _known(typing.cast("type[Any]", hints[name]), value)
    return known


def state_file(paths: Paths) -> Path:
    return paths.update / "state.json"


def history_file(paths: Paths) -> Path:
    return paths.update / "history.json"


def _write(paths: Paths, file: Path, table: dict[str, Any]) -> None:
    ensure_directory(paths, paths.update, group=READER, mode=0o750)
    owner = find_owner(paths, "root", READER)
    write_atomic(file, json.dumps(table, indent=1) + "\n", mode=0o640, owner=owner)
