"""The small files under /data/snapshots."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from appliance.atomic import fsync_directory, write_atomic
from appliance.errors import ConfigError
from appliance.log import logger
from appliance.paths import Paths
from appliance.tables import parse_table, to_table, without_unknown
from services.homeserver.schema import Schema
from services.owners import ensure_directory

T = TypeVar("T")
KEEP_HOURS = 24  # of running time after the new version was committed: a Pi has no clock to trust
TOUCHED, RESTORING, META = "touched.json", "restoring.json", "snapshot.json"
UNKNOWN = "unknown"  # the identity of a program that left no record
DISCARDED, UNFINISHED = ".discarded-", ".new-"


class Form(StrEnum):
    """DUMP: an archive of pg_dump, small, slow to bring back. COPY: the files, the reverse."""

    DUMP = "dump"
    COPY = "copy"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """``identity``: the program that left the database like this, ``successor`` the one after it.

    ``size`` in bytes, ``hours`` of running time before it goes, once ``committed``.
    """

    name: str
    identity: str
    successor: str
    form: Form
    schema: Schema = field(default_factory=Schema)
    size: int = 0
    sha256: str = ""
    at: float = 0.0
    committed: bool = False
    hours: int = KEEP_HOURS


@dataclass(frozen=True, kw_only=True)
class Touched:
    identity: str


@dataclass(frozen=True, kw_only=True)
class Restoring:
    name: str


def ensure_place(paths: Paths) -> None:
    """0700: a snapshot holds everybody's messages."""
    ensure_directory(paths, paths.snapshots, mode=0o700)


def load_touched(paths: Paths) -> str:
    """The program that used the database last; empty where that is not known."""
    found = _load(Touched, paths.snapshots / TOUCHED)
    return found.identity if found else ""


def save_touched(paths: Paths, identity: str) -> None:
    ensure_place(paths)
    _save(Touched(identity=identity), paths.snapshots / TOUCHED)


def load_restoring(paths: Paths) -> str:
    found = _load(Restoring, paths.snapshots / RESTORING)
    return found.name if found else ""


def save_restoring(paths: Paths, name: str) -> None:
    _save(Restoring(name=name), paths.snapshots / RESTORING)


def end_restoring(paths: Paths) -> None:
    (paths.snapshots / RESTORING).unlink(missing_ok=True)
    fsync_directory(paths.snapshots)


def directory(paths: Paths, snapshot: Snapshot) -> Path:
    return paths.snapshots / snapshot.name


def load_snapshots(paths: Paths) -> tuple[Snapshot, ...]:
    """The complete ones, newest first; there is rarely more than one."""
    places = paths.snapshots.glob("[!.]*/")
    found = [_load(Snapshot, place / META) for place in places]
    return tuple(
        sorted((one for one in found if one is not None), key=lambda one: one.at, reverse=True)
    )


def find_snapshot(paths: Paths, name: str) -> Snapshot | None:
    return next((one for one in load_snapshots(paths) if one.name == name), None)


def save_snapshot(place: Path, snapshot: Snapshot) -> None:
    _save(snapshot, place / META)


def discard(paths: Paths, place: Path) -> None:
    """Away at once for everybody who looks, then from the card; safe to cut at any point."""
    if not place.exists():
        return
    doomed = paths.snapshots / f"{DISCARDED}{uuid.uuid4().hex}"
    place.rename(doomed)
    fsync_directory(place.parent)
    fsync_directory(paths.snapshots)
    shutil.rmtree(doomed)


def sweep(paths: Paths) -> None:
    """What a power cut left half-way: snapshots under construction and half-deleted ones."""
    for prefix in (DISCARDED, UNFINISHED):
        for place in paths.snapshots.glob(f"{prefix}*"):
            shutil.rmtree(place, ignore_errors=True)


def _save(value: object, file: Path) -> None:
    write_atomic(file, json.dumps(to_table(value), indent=1) + "\n", mode=0o600)


def _load(cls: type[T], file: Path) -> T | None:
    """None for a file that is missing or damaged; what a newer version added is passed over."""
    try:
        table = json.loads(file.read_text())
        return parse_table(cls, without_unknown(cls, table), where=file.name)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ConfigError) as error:
        logger.warning("cannot use %s: %s", file, error)
        return None
