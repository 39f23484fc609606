"""Rescue mode: neither slot had an attempt left, so boot.scr started the committed one as it is.

No homeserver, no updates; the pages tell what happened, and the owner decides. A restart alone
leaves rescue mode in place: only "try again" gives attempts back. But for once: after an hour in it
one more start is tried unasked, because it may only have been the power that came and went.
"""

from __future__ import annotations

from pathlib import Path

from appliance.answers import Mishap, Rescue
from appliance.atomic import write_atomic
from appliance.bootreport import DataCondition, load_boot_report
from appliance.errors import HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from services import slots
from services.failures import load_failures, load_log, read_journal

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
    return Rescue(mishaps=mishaps, log=read_journal(lines=LOG_LINES)[-SHOWN_CHARS:])


def try_again(paths: Paths) -> None:
    """Give the slot that runs its attempts back; the caller restarts. Raises StateError."""
    require_rescue(paths)
    _give_attempts(paths)


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
