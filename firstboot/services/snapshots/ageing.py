"""How long a snapshot stays: a day of running time after the new version was found healthy."""

from __future__ import annotations

from dataclasses import replace

from appliance.errors import HearthError
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import load_settings
from services.homeserver import find_homeserver
from services.snapshots import record


def age(paths: Paths) -> None:
    """Called once in an hour of running in a committed slot; during a trial nobody calls.

    While the database is not yet what the running program needs, the snapshot may be the only good
    copy of it, and no hour counts: a roll-back is over for the slots long before it is for the
    database, which waits for PostgreSQL, for room, for the end of a power cut.
    """
    snapshots = record.load_snapshots(paths)
    if not snapshots or not _is_in_use(paths):
        return
    for snapshot in snapshots:
        place = record.directory(paths, snapshot)
        older = replace(snapshot, hours=snapshot.hours - 1)
        if older.hours > 0:
            record.save_snapshot(place, older)
        else:
            logger.info("the database snapshot of %s has served its purpose", snapshot.identity)
            record.discard(paths, place)


def _is_in_use(paths: Paths) -> bool:
    """Whether the homeserver that runs was the last to use the database, with no way back open."""
    from services.snapshots.prepare import identity_of  # a start that has no snapshot needs none

    try:
        settings = load_settings(paths.settings)
        if settings is None or record.load_restoring(paths):
            return False
        homeserver = find_homeserver(settings.server.software)
        return record.load_touched(paths) == identity_of(paths, homeserver)
    except (HearthError, OSError) as error:
        logger.warning("the database snapshots stay as they are: %s", error)
        return False


def note_commit(paths: Paths) -> None:
    """The trial has ended well: from now on nothing goes back to the snapshot by itself."""
    for snapshot in record.load_snapshots(paths):
        record.save_snapshot(record.directory(paths, snapshot), replace(snapshot, committed=True))
