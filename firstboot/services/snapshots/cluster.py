"""A snapshot as a copy of PostgreSQL's files, made while it stands still: back by a rename."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from appliance.atomic import fsync_directory
from appliance.errors import DiskFullError, StateError
from appliance.layout import MIB
from appliance.paths import Paths
from appliance.run import Argument, run
from services import database
from services.snapshots.dump import free_space
from services.snapshots.policy import RESERVE
from services.snapshots.record import DISCARDED

PLACE = "cluster"
CONTROL_SECONDS = 60
SYNC_SECONDS = 1800
CHECK_SECONDS = 3600
# Made anew at every start (PostgreSQL manual, 25.3.4 "Backing Up The Data Directory").
SKIPPED = ("postmaster.pid", "postmaster.opts", "pg_internal.init")
LOG = "pg_wal"
SEGMENT = re.compile(r"^Latest checkpoint's REDO WAL file:\s*([0-9A-F]{24})$", re.MULTILINE)
Report = Callable[[int], None]  # percent


def copy_size(paths: Paths) -> int:
    """Bytes of a copy, about: the log's segments but one are left out."""
    source = database.cluster(paths)
    return sum(one.stat().st_size for one in _files(source) if LOG not in one.parts) + 16 * MIB


def copy_cluster(paths: Paths, place: Path, report: Report) -> None:
    """All files of a database that was shut down, checked page by page afterwards.

    Raises StateError for one that was not, DiskFullError when there is no room.
    """
    source, target = database.cluster(paths), place / PLACE
    segment = _last_segment(source)
    # Of the log only where a start begins to read.
    wanted = [one for one in _files(source) if one.parent.name != LOG or one.name == segment]
    directories = (one for one in source.rglob("*") if one.is_dir())
    copy_files(source, target, (*directories, *wanted), report)
    sync(target)
    # Each page has a checksum (initdb --data-checksums).
    argv: list[Argument] = [database.PROGRAMS / "pg_checksums", "--check", f"--pgdata={target}"]
    run(argv, timeout=CHECK_SECONDS)


def copy_files(
    source: Path, target: Path, wanted: Iterable[Path], report: Report = lambda percent: None
) -> None:
    """``wanted`` below ``source``, with owners and modes. Raises DiskFullError."""
    parts = sorted(wanted)
    total, done = max(sum(one.stat().st_size for one in parts if one.is_file()), 1), 0
    target.mkdir()
    _copy_owner(source, target)
    for one in parts:
        copy = target / one.relative_to(source)
        if one.is_dir():
            copy.mkdir()
        else:
            size = one.stat().st_size
            _require_room(target, size)
            shutil.copyfile(one, copy)
            done += size
            report(100 * done // total)
        _copy_owner(one, copy)


def _require_room(place: Path, size: int) -> None:
    free = free_space(place)
    if free - size < RESERVE:
        message = f"only {free // MIB} MiB are free: not enough for a snapshot of the database"
        raise DiskFullError(message, hint="delete rooms and media that nobody needs")


def sync(place: Path) -> None:
    """All of it on the card, not only in memory."""
    run(["sync", "--file-system", place], timeout=SYNC_SECONDS)


def restore_cluster(paths: Paths, place: Path) -> None:
    """The copy in place of the cluster, which is stopped; may be cut at any point and called again.

    Whether there still is a copy says how far an earlier call came.
    """
    swap_in(paths, place / PLACE, database.cluster(paths))


def swap_in(paths: Paths, copy: Path, target: Path) -> None:
    """``copy`` takes the place of ``target``, which goes to where sweeping finds it."""
    if not copy.exists():
        return
    if target.exists():
        target.rename(paths.snapshots / f"{DISCARDED}{copy.parent.name}-{copy.name}-former")
        fsync_directory(target.parent)
        fsync_directory(paths.snapshots)
    copy.rename(target)
    fsync_directory(target.parent)
    fsync_directory(copy.parent)


def _last_segment(source: Path) -> str:
    argv = [database.PROGRAMS / "pg_controldata", source]
    said = run(argv, timeout=CONTROL_SECONDS).stdout
    state = re.search(r"^Database cluster state:\s*(.*)$", said, re.MULTILINE)
    segment = SEGMENT.search(said)
    if state is None or state[1] != "shut down" or segment is None:
        message = f"{source} was not shut down cleanly: {state[1] if state else 'no state'}"
        raise StateError(message, hint="restart the appliance")
    return segment[1]


def _files(source: Path) -> Iterator[Path]:
    for one in sorted(source.rglob("*")):
        if one.is_file() and one.name not in SKIPPED:
            yield one


def _copy_owner(source: Path, target: Path) -> None:
    status = source.stat()
    if os.geteuid() == 0:
        os.chown(target, status.st_uid, status.st_gid)
    target.chmod(status.st_mode & 0o7777)
