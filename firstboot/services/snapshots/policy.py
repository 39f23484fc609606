"""What to do with the database before this program may use it: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.layout import MIB
from services.homeserver.schema import Schema
from services.snapshots.record import UNKNOWN, Form, Snapshot

# PostgreSQL stops when it cannot write its log: this much stays free whatever is copied.
RESERVE = 256 * MIB
# Measured on two busy x86-64 cores (to take it, to go back): 10 MiB are dumped in 0.9 s and 4.8 s,
# copied in 3.0 s and 1.9 s; 292 MiB in 8.1 s and 23 s, or 6.0 s and 1.1 s. Up to here the dump
# spares the card; beyond, the copy is quicker in both directions, where there is room for it.
SMALL = 64 * MIB


class Act(StrEnum):
    """NOTHING: this program used it last. RECORD: a fresh one. SNAPSHOT: a new program comes.
    KEEP and RESTORE: the old program is back. REFUSE: it cannot be read and there is no way back.
    """

    NOTHING = "nothing"
    RECORD = "recorded"
    SNAPSHOT = "snapshot"
    KEEP = "kept"
    RESTORE = "restored"
    REFUSE = "refused"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """``identity`` and ``code`` are the program's that wants to start, ``touched`` is the one that
    used the database last. ``database`` is None before anything was ever written into it.
    """

    identity: str
    code: Schema
    touched: str
    database: Schema | None
    snapshot: Snapshot | None
    restoring: bool = False


def plan(facts: Facts) -> Act:
    if facts.restoring:
        return Act.RESTORE
    if facts.touched == facts.identity:
        return Act.NOTHING
    if facts.database is None:
        return Act.RECORD
    snapshot = facts.snapshot
    if snapshot is not None and _is_ours(snapshot, facts):
        if can_read(facts.code, facts.database, snapshot.schema):
            return Act.KEEP
        # After the commit a restore would throw away more than the minutes of a trial.
        return Act.REFUSE if snapshot.committed else Act.RESTORE
    return Act.SNAPSHOT if can_read(facts.code, facts.database, None) else Act.REFUSE


def _is_ours(snapshot: Snapshot, facts: Facts) -> bool:
    """Whether the database was left like that by this program.

    Where nobody knew by whom (a record was lost), it was not by the one that came after it.
    """
    is_anybodys = snapshot.identity == UNKNOWN and snapshot.successor == facts.touched
    return is_anybodys or snapshot.identity == facts.identity


def can_read(code: Schema, database: Schema, left: Schema | None) -> bool:
    """Whether the program can use the database; ``left`` is the form in which it left it itself.

    Without ``left`` a program that declares nothing counts as the newer one.
    """
    if code.version:
        return database.compatible <= code.version
    return left is None or set(database.migrations) == set(left.migrations)


def choose_form(*, database: int, cluster: int, free: int) -> Form | None:
    """The form of a snapshot by sizes in bytes; None when none fits.

    A dump holds no indexes and is compressed: half the database is a careful guess, and the making
    of it is watched. None of PostgreSQL's other files shrink in a copy.
    """
    needed = {Form.DUMP: database // 2, Form.COPY: cluster}
    order = (Form.DUMP, Form.COPY) if database <= SMALL else (Form.COPY, Form.DUMP)
    return next((form for form in order if free - needed[form] >= RESERVE), None)
