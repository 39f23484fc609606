"""Taking a snapshot: complete under its name, or not there at all."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from appliance.atomic import fsync_directory
from appliance.deadline import wait_until
from appliance.errors import DiskFullError
from appliance.layout import MIB
from appliance.paths import Paths
from appliance.settings import load_settings
from services import database
from services.homeserver import Homeserver, find_homeserver
from services.homeserver.schema import Schema
from services.snapshots import record
from services.snapshots.cluster import copy_cluster, copy_files, copy_size, sync
from services.snapshots.dump import free_space, make_dump
from services.snapshots.policy import RESERVE, choose_form
from services.snapshots.record import Form, Snapshot
from services.snapshots.result import Reporter
from services.units import Units

START_SECONDS = 1800.0
BESIDE = "beside"


def make_snapshot(
    paths: Paths,
    units: Units,
    homeserver: Homeserver,
    *,
    identity: str,
    successor: str,
    schema: Schema | None,
    reporter: Reporter,
) -> Snapshot:
    """The database as ``identity`` left it; PostgreSQL runs before and after.

    Earlier snapshots go first: they are of programs that this one is not gone back to.
    """
    for old in record.load_snapshots(paths):
        record.discard(paths, record.directory(paths, old))
    form = _choose(paths, homeserver)
    name = re.sub(r"[^a-z0-9]+", "-", identity.lower()).strip("-")
    place = paths.snapshots / f"{record.UNFINISHED}{name}"
    place.mkdir(mode=0o700)
    try:
        reporter.begin("A snapshot of the database is taken before the new version uses it.")
        sha256 = ""
        if form is Form.DUMP:
            sha256 = make_dump(paths, homeserver, place, reporter.percent)
        else:
            _copy_stopped(paths, units, place, reporter)
        _copy_beside(paths, homeserver, place)
        snapshot = Snapshot(
            name=name,
            identity=identity,
            successor=successor,
            form=form,
            schema=schema or Schema(),
            size=sum(one.stat().st_size for one in place.rglob("*") if one.is_file()),
            sha256=sha256,
            at=time.time(),
        )
        record.save_snapshot(place, snapshot)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    place.rename(record.directory(paths, snapshot))
    fsync_directory(paths.snapshots)
    return snapshot


def check_room(paths: Paths) -> None:
    """Whether a snapshot could be taken now. Raises DiskFullError.

    A database that does not answer is no reason: the update may be its cure.
    """
    settings = load_settings(paths.settings)
    if settings is None or not database.has_cluster(paths) or not database.is_ready(paths):
        return
    homeserver = find_homeserver(settings.server.software)
    if database.has_database(paths, homeserver.user):
        _choose(paths, homeserver)


def _choose(paths: Paths, homeserver: Homeserver) -> Form:
    size = int(database.query(paths, f"SELECT pg_database_size('{homeserver.user}')"))
    free = free_space(paths.data)
    form = choose_form(database=size, cluster=copy_size(paths), free=free)
    if form is None:
        message = (
            f"there is no room for a snapshot of the database: it has {size // MIB} MiB,"
            f" and {free // MIB} MiB are free, of which {RESERVE // MIB} must stay so"
        )
        raise DiskFullError(message, hint="delete rooms and media that nobody needs")
    return form


def _copy_stopped(paths: Paths, units: Units, place: Path, reporter: Reporter) -> None:
    units.stop(database.UNIT)
    try:
        copy_cluster(paths, place, reporter.percent)
    finally:
        ensure_running(paths, units)


def ensure_running(paths: Paths, units: Units) -> None:
    """PostgreSQL, answering."""
    units.start(database.UNIT)
    wait_until(
        lambda: database.is_ready(paths), seconds=START_SECONDS, what="PostgreSQL's first answer"
    )


def _copy_beside(paths: Paths, homeserver: Homeserver, place: Path) -> None:
    """Directories that only make sense together with the database, small ones."""
    for name in homeserver.beside:
        source = homeserver.directory(paths) / name
        if source.is_dir():
            (place / BESIDE).mkdir(exist_ok=True)
            copy_files(source, place / BESIDE / name, source.rglob("*"))
    sync(place)
