"""Before the homeserver may start: a snapshot for a new program, the way back for an old one."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.atomic import write_atomic
from appliance.errors import HearthError, StateError
from appliance.log import logger, progress
from appliance.paths import Paths
from appliance.settings import load_settings
from appliance.update import Result
from services import database
from services.homeserver import Homeserver, find_homeserver
from services.homeserver.schema import parse_schema
from services.snapshots import record
from services.snapshots.making import ensure_running, make_snapshot
from services.snapshots.policy import Act, Facts, plan
from services.snapshots.restoring import go_back
from services.snapshots.result import DatabaseResult, Reporter, drop_stale
from services.units import Units
from services.update.state import change_newest, load_history

SETTLED = "database-settled"  # under Paths.runtime; a condition of hearth-database.service


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the acts need. ``identity`` is the program's that wants to start."""

    paths: Paths
    units: Units
    homeserver: Homeserver
    identity: str
    reporter: Reporter


def identity_of(paths: Paths, homeserver: Homeserver) -> str:
    """Version and schema: another build of the same version may write another schema."""
    schema = homeserver.schema(paths)
    known = f" schema {schema.version}" if schema.version else ""
    return f"{homeserver.software.value} {homeserver.version(paths)}{known}"


def note_settled(paths: Paths) -> None:
    """At every start, before PostgreSQL: whether this program used the database last.

    Then hearth-database.service is passed over. The mark is gone with the next start.
    """
    mark = paths.runtime / SETTLED
    try:
        settings = load_settings(paths.settings)
        if settings is None or record.load_restoring(paths):
            return
        homeserver = find_homeserver(settings.server.software)
        if record.load_touched(paths) == identity_of(paths, homeserver):
            drop_stale(paths)
            write_atomic(mark, "")
    except (HearthError, OSError) as error:
        logger.warning("the database is looked at before it is used: %s", error)


def prepare_database(
    paths: Paths, units: Units, *, now: Callable[[], float] = time.time
) -> DatabaseResult:
    """Raises what stands in the way: the homeserver then must not start."""
    settings = load_settings(paths.settings)
    if settings is None:
        return DatabaseResult(at=now())
    homeserver = find_homeserver(settings.server.software)
    paths.runtime.mkdir(parents=True, exist_ok=True)
    with (paths.runtime / "database.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reporter = Reporter(paths, now)
        try:
            identity = identity_of(paths, homeserver)
            job = Job(
                paths=paths,
                units=units,
                homeserver=homeserver,
                identity=identity,
                reporter=reporter,
            )
            return reporter.finish(_prepare(job), identity)
        except HearthError as error:
            reporter.fail(error)
            raise


def _prepare(job: Job) -> Act:
    paths = job.paths
    record.ensure_place(paths)
    record.sweep(paths)
    restoring = record.load_restoring(paths)
    if not restoring and record.load_touched(paths) == job.identity:
        _drop_used(paths, job.identity)
        return Act.NOTHING
    if not restoring and not database.has_cluster(paths):
        return Act.NOTHING
    if restoring:
        snapshot = record.find_snapshot(paths, restoring)
        facts = None
    else:
        ensure_running(paths, job.units)
        if not database.has_database(paths, job.homeserver.user):
            return Act.NOTHING
        facts = _look(job)
        snapshot = facts.snapshot
    act = plan(facts) if facts else Act.RESTORE
    logger.info("database: %s", act.value)
    _act(job, act, facts, snapshot)
    return act


def _drop_used(paths: Paths, identity: str) -> None:
    """A snapshot that this program has gone back to already, when the power went before its end."""
    for snapshot in record.load_snapshots(paths):
        if snapshot.identity == identity:
            record.discard(paths, record.directory(paths, snapshot))


def _look(job: Job) -> Facts:
    paths, homeserver = job.paths, job.homeserver
    answer = database.query(paths, homeserver.schema_query, database=homeserver.user)
    return Facts(
        identity=job.identity,
        code=homeserver.schema(paths),
        touched=record.load_touched(paths),
        database=parse_schema(answer),
        snapshot=next(iter(record.load_snapshots(paths)), None),
    )


def _act(job: Job, act: Act, facts: Facts | None, snapshot: record.Snapshot | None) -> None:
    paths = job.paths
    match act:
        case Act.REFUSE:
            assert facts is not None
            raise _refusal(facts)
        case Act.SNAPSHOT:
            assert facts is not None
            with progress("Taking a snapshot of the database"):
                make_snapshot(
                    paths,
                    job.units,
                    job.homeserver,
                    identity=facts.touched or record.UNKNOWN,
                    successor=job.identity,
                    schema=facts.database,
                    reporter=job.reporter,
                )
        case Act.RESTORE:
            with progress("Going back to the snapshot of the database"):
                go_back(paths, job.units, job.homeserver, snapshot, reporter=job.reporter)
        case _:
            pass
    if act in (Act.KEEP, Act.RESTORE):
        _tell_history(paths, act)
    record.save_touched(paths, job.identity)
    record.end_restoring(paths)
    if act in (Act.KEEP, Act.RESTORE) and snapshot is not None:
        record.discard(paths, record.directory(paths, snapshot))
        record.sweep(paths)


def _tell_history(paths: Paths, act: Act) -> None:
    """The roll-back is on record already; what became of the database is known only here."""
    newest = next(iter(load_history(paths)), None)
    if newest is not None and newest.result is Result.ROLLED_BACK and not newest.database:
        change_newest(paths, replace(newest, database=act.value))


def _refusal(facts: Facts) -> StateError:
    assert facts.database is not None
    message = f"{facts.identity} cannot read the database, which {facts.touched} used last"
    if facts.code.version:
        message += (
            f": it knows schema {facts.code.version}, and the database needs"
            f" {facts.database.compatible}"
        )
    hint = "update to that version again"
    if facts.snapshot is not None:
        hint += ", or give up what came since then with: hearthctl snapshot restore"
    return StateError(message, hint=hint)
