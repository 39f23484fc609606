"""The owner's files as the old version last wrote them, for the way back from a trial.

A new version may add a key to settings.toml that the old one does not know, and the old one refuses
what it does not know. So the three files are kept beside the update's state before the trial, and
after a roll-back each that cannot be read any more is replaced by its copy. One that can be read is
left alone: what the owner changed during the trial counts.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from appliance.atomic import fsync_directory, write_atomic
from appliance.errors import ConfigError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import load_secrets, load_settings
from appliance.state import load_state
from services.owners import ensure_directory

READERS: dict[str, Callable[[Path], object]] = {
    "settings.toml": load_settings,
    "secrets.toml": load_secrets,
    "state.json": load_state,
}
UNREADABLE = ".unreadable"  # what the new version wrote stays beside the file, for a later look


def directory(paths: Paths) -> Path:
    """0700: one of the copies holds secrets."""
    return paths.update / "kept"


def keep(paths: Paths) -> None:
    """Copy what is there, in place of the copies of an earlier trial.

    Raises StateError for a file that this version cannot read itself: a copy of it is no way back.
    """
    drop(paths)
    ensure_directory(paths, paths.update)
    ensure_directory(paths, directory(paths), mode=0o700)
    for name, read in READERS.items():
        file = paths.hearth / name
        if not file.exists():
            continue
        try:
            read(file)
        except ConfigError as error:
            message = f"{file} cannot be read, so there is nothing to go back to: {error.message}"
            raise StateError(message, hint="mend it before the update") from error
        _copy(file, directory(paths) / name)


def put_back(paths: Paths) -> tuple[str, ...]:
    """Replace what this version cannot read by its copy; the names of what was replaced.

    Safe to call again after a power cut: a file that was put back can be read, and is left alone.
    """
    replaced = []
    for name, read in READERS.items():
        copy, file = directory(paths) / name, paths.hearth / name
        if not copy.exists() or _is_readable(file, read):
            continue
        if file.exists():
            _copy(file, file.with_name(f"{name}{UNREADABLE}"))
        _copy(copy, file)
        logger.warning("%s is again as it was before the update", file)
        replaced.append(name)
    return tuple(replaced)


def drop(paths: Paths) -> None:
    """The trial is over."""
    if directory(paths).exists():
        shutil.rmtree(directory(paths))
        fsync_directory(paths.update)


def _is_readable(file: Path, read: Callable[[Path], object]) -> bool:
    if not file.exists():
        return False  # it was there before the trial
    try:
        read(file)
    except ConfigError as error:
        logger.warning("%s", error.message)
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    """With mode and owner, as a whole or not at all."""
    status = source.stat()
    owner = (status.st_uid, status.st_gid) if os.geteuid() == 0 else None
    write_atomic(target, source.read_bytes(), mode=stat.S_IMODE(status.st_mode), owner=owner)
