"""How long a snapshot stays: a day of running time after the new version was found healthy."""

from __future__ import annotations

from dataclasses import replace

from appliance.log import logger
from appliance.paths import Paths
from services.snapshots import record


def age(paths: Paths) -> None:
    """Called once in an hour of running in a committed slot; during a trial nobody calls."""
    for snapshot in record.load_snapshots(paths):
        place = record.directory(paths, snapshot)
        older = replace(snapshot, committed=True, hours=snapshot.hours - 1)
        if older.hours > 0:
            record.save_snapshot(place, older)
        else:
            logger.info("the database snapshot of %s has served its purpose", snapshot.identity)
            record.discard(paths, place)


def note_commit(paths: Paths) -> None:
    """The trial has ended well: from now on nothing goes back to the snapshot by itself."""
    for snapshot in record.load_snapshots(paths):
        record.save_snapshot(record.directory(paths, snapshot), replace(snapshot, committed=True))
