"""A snapshot as pg_dump's archive, made while PostgreSQL runs and the homeserver does not."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from appliance.errors import DiskFullError, HashMismatchError
from appliance.layout import MIB
from appliance.paths import Paths
from appliance.run import Argument, Process, end, failed_command, run, spawn
from services import database
from services.homeserver import Homeserver
from services.snapshots.policy import RESERVE

FILE = "database.dump"
POLL_SECONDS = 0.2
RESTORE_SECONDS = 4 * 3600  # indexes of a large database on a slow card
READ_SECONDS = 3600
TABLE = re.compile(r'dumping contents of table "public\.(\w+)"')
SIZES = """\
SELECT relname || '|' || pg_table_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace;
"""
Report = Callable[[int], None]  # percent


def make_dump(paths: Paths, homeserver: Homeserver, place: Path, report: Report) -> str:
    """Write the archive into ``place`` and read it back; its SHA-256.

    The one-time keys are left out: keys that were handed out since must not be handed out again,
    and clients upload new ones when there are none. lz4, because a Pi's processor is the brake.
    Raises DiskFullError before PostgreSQL itself would run out of space.
    """
    target, name = place / FILE, homeserver.user
    argv: list[Argument] = [
        database.PROGRAMS / "pg_dump", *_connection(paths, name), "--format=custom",
        "--compress=lz4", "--verbose", f"--exclude-table-data=public.{homeserver.one_time_keys}",
        f"--file={target}",
    ]  # fmt: skip
    lines = database.query(paths, SIZES, database=name).splitlines()
    sizes = {table: int(size) for table, size in (line.split("|") for line in lines)}
    with tempfile.TemporaryFile("w+") as log:
        process = spawn(argv, errors=log)
        try:
            _watch(process, lambda: report(_percent(os.pread(log.fileno(), MIB, 0), sizes)), place)
        except BaseException:
            end(process)
            raise
        if process.returncode != 0:
            log.seek(0)
            raise failed_command([str(part) for part in argv], process.returncode, "", log.read())
    # From the card, not from memory: what cannot be read back is no way back.
    _forget_pages(target)
    run([database.PROGRAMS / "pg_restore", "--file=/dev/null", target], timeout=READ_SECONDS)
    return file_hash(target)


def restore_dump(paths: Paths, homeserver: Homeserver, place: Path, sha256: str) -> None:
    """The archive in place of the database; may be cut at any point and called again.

    Beside the present database where there is room, and both names change in one transaction.
    Raises HashMismatchError, with the present database untouched, for an archive that has changed.
    """
    archive, name = place / FILE, homeserver.user
    if file_hash(archive) != sha256:
        message = f"the snapshot {archive} is not what was written: the card has lost some of it"
        raise HashMismatchError(message, hint="restore a backup")
    fresh, former = f"{name}_restored", f"{name}_former"
    for left in (fresh, former):
        database.query(paths, f"DROP DATABASE IF EXISTS {left} WITH (FORCE)")
    if database.has_database(paths, name) and not _has_room_beside(paths, name):
        database.query(paths, f"DROP DATABASE {name} WITH (FORCE)")
    database.make_database(paths, fresh, owner=name)
    _read_archive(paths, archive, fresh)
    swap = f"ALTER DATABASE {fresh} RENAME TO {name};"
    if database.has_database(paths, name):
        swap = f"BEGIN; ALTER DATABASE {name} RENAME TO {former}; {swap} COMMIT;"
    # Everything up to here is on the card before the names change.
    database.query(paths, "CHECKPOINT", seconds=READ_SECONDS)
    database.query(paths, swap)
    database.query(paths, f"DROP DATABASE IF EXISTS {former} WITH (FORCE)")


def file_hash(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read_archive(paths: Paths, archive: Path, name: str) -> None:
    """Without a wait for the card at every table; the checkpoint afterwards counts."""
    argv: list[Argument] = [database.PROGRAMS / "pg_restore", *_connection(paths, name),
                            "--exit-on-error", archive]  # fmt: skip
    options = {"PGOPTIONS": "-c synchronous_commit=off -c maintenance_work_mem=64MB"}
    run(argv, env=options, timeout=RESTORE_SECONDS)


def _connection(paths: Paths, name: str) -> tuple[str, ...]:
    return (f"--host={paths.root / 'run/postgresql'}", "--username=postgres", f"--dbname={name}",
            "--no-password")  # fmt: skip


def _watch(process: Process, report: Callable[[], None], place: Path) -> None:
    while process.poll() is None:
        free = free_space(place)
        if free < RESERVE:
            message = f"only {free // MIB} MiB are free: not enough for a snapshot of the database"
            raise DiskFullError(message, hint="delete rooms and media that nobody needs")
        report()
        time.sleep(POLL_SECONDS)


def _percent(log: bytes, sizes: dict[str, int]) -> int:
    *done, _ = [*TABLE.findall(log.decode(errors="replace")), ""]
    return 100 * sum(sizes.get(table, 0) for table in done[:-1]) // max(sum(sizes.values()), 1)


def _has_room_beside(paths: Paths, name: str) -> bool:
    size = int(database.query(paths, f"SELECT pg_database_size('{name}')"))
    return free_space(paths.postgresql) - size * 5 // 4 >= RESERVE


def free_space(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def _forget_pages(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
