"""Rescue mode: neither slot had an attempt left, so boot.scr started the committed one as it is.

No homeserver, no updates; the pages tell what happened, and the owner decides. A restart alone
leaves rescue mode in place: only "try again" gives attempts back. But for once: after an hour in it
one more start is tried unasked, because it may only have been the power that came and went.
"""

from __future__ import annotations

from pathlib import Path

from appliance.aftercare import RESTORE_WORD
from appliance.answers import Mishap, Rescue
from appliance.atomic import write_atomic
from appliance.bootreport import DataCondition, load_boot_report
from appliance.errors import FieldError, HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import load_settings
from services import slots
from services.failures import load_failures, load_log, read_journal
from services.snapshots.record import Snapshot, load_snapshots, load_touched, save_restoring

LOG_LINES = 200
SHOWN_CHARS = 16 * 1024  # of each log: the page is for a phone, and a reply has a limit


def require_rescue(paths: Paths) -> None:
    if not load_boot_report(paths.boot_report).rescue:
        raise StateError("This Hearth is not in rescue mode.", hint="reload the page")


def show_rescue(paths: Paths) -> Rescue:
    """Why, as far as it was written down. Raises StateError outside of rescue mode."""
    require_rescue(paths)
    mishaps = tuple(
        Mishap(
            at=failure.at,
            version=failure.version,
            slot=failure.slot,
            reason=failure.reason,
            log=load_log(paths, name)[-SHOWN_CHARS:],
        )
        for name, failure in load_failures(paths)
    )
    snapshot = _find_restorable(paths)
    return Rescue(
        mishaps=mishaps,
        log=read_journal(lines=LOG_LINES)[-SHOWN_CHARS:],
        restorable=snapshot.identity if snapshot else "",
        restorable_at=snapshot.at if snapshot else 0.0,
    )


def try_again(paths: Paths) -> None:
    """Give the slot that runs its attempts back; the caller restarts. Raises StateError."""
    require_rescue(paths)
    _give_attempts(paths)


def restore_database(paths: Paths, confirm: str) -> None:
    """The next start is the version that the snapshot is of, and goes back to it first; the caller
    restarts. Raises FieldError for any other word than RESTORE_WORD, StateError, ConfigError.

    The slots first: after a cut there the old version finds a database that it cannot use, and
    this page comes again. Should that version not start at all, whichever is tried next goes back
    to the snapshot: the owner has given up what came since.
    """
    require_rescue(paths)
    snapshot = _find_restorable(paths)
    if snapshot is None:
        message = "There is no snapshot of the database to go back to."
        raise StateError(message, hint="reload the page")
    if confirm.strip().lower() != RESTORE_WORD:
        message = f"Type the word {RESTORE_WORD!r} to confirm."
        raise FieldError("confirm", message, hint="nothing has been changed")
    booted = slots.booted_slot(paths)
    if _is_of_booted(paths, snapshot):
        _give_attempts(paths)
    else:
        slots.recall(paths, booted)
        slots.try_next(paths, slots.other_slot(booted))
    save_restoring(paths, snapshot.name)
    logger.warning("the database goes back to how %s left it", snapshot.identity)


def _find_restorable(paths: Paths) -> Snapshot | None:
    snapshot = next(iter(load_snapshots(paths)), None)
    return snapshot if snapshot and snapshot.identity != load_touched(paths) else None


def _is_of_booted(paths: Paths, snapshot: Snapshot) -> bool:
    from services.homeserver import find_homeserver
    from services.snapshots.prepare import identity_of

    settings = load_settings(paths.settings)
    if settings is None:
        return False
    return snapshot.identity == identity_of(paths, find_homeserver(settings.server.software))


def leave_rescue(paths: Paths) -> None:
    """Before a restart that changes something by itself, a factory reset; else nothing happens."""
    if not load_boot_report(paths.boot_report).rescue:
        return
    try:
        _give_attempts(paths)
    except (HearthError, OSError) as error:
        # The page is there again afterwards, and with it "try again".
        logger.warning("rescue mode goes on: %s", error)


def end_once(paths: Paths) -> bool:
    """After an hour in it (hearth-rescue-end.timer): one attempt, if none was given like that since
    the last start that came to its end. Whether the machine is to be restarted.

    The mark first: a card that cannot keep it would be started again every hour.
    """
    report, mark = load_boot_report(paths.boot_report), _mark(paths)
    is_kept = report.data is DataCondition.OK
    if not (report.rescue and is_kept and slots.status(paths).committed) or mark.exists():
        return False
    write_atomic(mark, "")
    if not slots.give_one(paths):
        return False
    logger.warning("rescue mode is left once to see whether it was only the power")
    return True


def note_recovery(paths: Paths) -> None:
    """A start has come to its end: after the next mishap one more may be tried."""
    try:
        _mark(paths).unlink(missing_ok=True)
    except OSError as error:
        logger.warning("the next rescue mode will wait for its owner: %s", error)


def _mark(paths: Paths) -> Path:
    return paths.system / "rescue-left"


def _give_attempts(paths: Paths) -> None:
    booted = slots.booted_slot(paths)
    slots.recall(paths, booted)  # only where nobody is committed: then there is nothing better
    slots.mark_good(paths)
    logger.warning("rescue mode ends: slot %s is started again as usual", booted)
