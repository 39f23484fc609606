"""The database as it was before a new homeserver version first touched it, and the way back to it.

A schema only moves forward, so a roll-back of the slot alone may leave the old program with a
database that it cannot read. All of it happens in hearth-database.service, at the start of either
slot, before the homeserver may run, from what lies under /data/snapshots alone:

    touched.json     which program used the database last
    NAME/            one complete snapshot: snapshot.json, and database.dump or cluster/
    restoring.json   a snapshot that is being gone back to; a power cut changes nothing in that

Both slots' programs read these files: fields are only ever added, and unknown ones passed over.
"""

from __future__ import annotations
