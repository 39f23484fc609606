"""Going back to a snapshot: once begun it is finished, by the next start if need be."""

from __future__ import annotations

from appliance.errors import StateError
from appliance.paths import Paths
from services import database
from services.homeserver import Homeserver
from services.snapshots import record
from services.snapshots.cluster import restore_cluster, swap_in
from services.snapshots.dump import restore_dump
from services.snapshots.making import BESIDE, ensure_running
from services.snapshots.record import Form, Snapshot
from services.snapshots.result import Reporter
from services.units import Units


def go_back(
    paths: Paths,
    units: Units,
    homeserver: Homeserver,
    snapshot: Snapshot | None,
    *,
    reporter: Reporter,
) -> None:
    """The database as the snapshot has it, PostgreSQL running, the homeserver not.

    What came since is lost, and so must the one-time keys be: those that were handed out since are
    back in the snapshot, and a second use of one is a message that nobody can read. Clients upload
    new ones as soon as they see that there are none.
    """
    if snapshot is None:
        message = f"the snapshot {record.load_restoring(paths)!r} is not there any more"
        raise StateError(message, hint="restore a backup")
    reporter.begin("The database goes back to how it was before the update.")
    record.save_restoring(paths, snapshot.name)
    place = record.directory(paths, snapshot)
    if snapshot.form is Form.COPY:
        units.stop(database.UNIT)
        restore_cluster(paths, place)
        ensure_running(paths, units)
    else:
        ensure_running(paths, units)
        restore_dump(paths, homeserver, place, snapshot.sha256)
    for name in homeserver.beside:
        swap_in(paths, place / BESIDE / name, homeserver.directory(paths) / name)
    table = homeserver.one_time_keys
    database.query(paths, f"TRUNCATE {table}", database=homeserver.user)
