"""Factory reset: ordered by a file on the data partition, carried out by the next start.

Nothing is formatted: the start-up program moves everything aside and new, empty directories into
its place, before any program has a file open (firstboot.reset_card). With ``keep`` what was put
aside stays for a day of running time and can be brought back; otherwise it is deleted afterwards,
in the background. A data partition that cannot be mounted is given up, and made anew by the next
start: there is nothing to move on it.

Deleted is not shredded: flash memory keeps old pages for a while, whatever is written.
"""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from appliance.atomic import fsync_directory, write_atomic
from appliance.errors import ConfigError, StateError
from appliance.layout import DATA, NEW_DATA_LABEL
from appliance.log import logger
from appliance.paths import Paths
from appliance.tables import parse_table, to_table, without_unknown
from appliance.update import Stage
from services.disk import Disk
from services.mbr import has_data, read_table, remove_data
from services.owners import find_owner
from services.superblock import give_up, read_label
from services.update.state import load_update

KEEP_HOURS = 24
READER = "hearth-ui"
FRESH, DISCARDED = ".fresh", ".discarded-"


class Act(StrEnum):
    RESET = "reset"
    BRING_BACK = "bring-back"


class Step(StrEnum):
    """How far it is; each can be done again after a power cut, and none is left out.

    BEGIN: what comes is made ready beside what is there. AWAY: what is there goes. IN: what was
    made ready comes. END: tidying up.
    """

    BEGIN = "begin"
    AWAY = "away"
    IN = "in"
    END = "end"


@dataclass(frozen=True, kw_only=True)
class Order:
    """``origin``: "page", "terminal" or "card"; ``request`` tells one file on the card from the
    next, so that one that cannot be removed is obeyed once.
    """

    act: Act
    keep: bool = False
    origin: str = ""
    request: str = ""
    at: float = 0.0
    step: Step = Step.BEGIN


@dataclass(frozen=True, kw_only=True)
class Done:
    """The last one. ``hours`` of running time for which the earlier data are ``kept``; their
    ``server_name`` and ``owner_name`` are empty where setup was not over.
    """

    request: str = ""
    at: float = 0.0
    kept: bool = False
    hours: int = 0
    server_name: str = ""
    owner_name: str = ""


def order_reset(
    paths: Paths, *, keep: bool, origin: str, now: float, request: str = "", force: bool = False
) -> None:
    """From here on the next start does it, whatever happens. Raises StateError during a trial.

    ``force``: somebody holds the card in the hand and may have put it in because of the trial.
    """
    if not force:
        _require_no_trial(paths)
    save_order(paths, Order(act=Act.RESET, keep=keep, origin=origin, request=request, at=now))


def order_bring_back(paths: Paths, *, origin: str, now: float) -> None:
    """Raises StateError where nothing was kept, and during a trial."""
    _require_no_trial(paths)
    if not has_kept(paths):
        message = "The data of before the last factory reset are not there any more."
        raise StateError(message, hint="restore a backup")
    save_order(paths, Order(act=Act.BRING_BACK, origin=origin, at=now))


def _require_no_trial(paths: Paths) -> None:
    if load_update(paths).stage is Stage.TRIAL:
        message = "A new version is on trial, and whether it is healthy is not decided yet."
        raise StateError(message, hint="wait for a quarter of an hour, and try again")


def format_damaged(disk: Path) -> None:
    """Give up a data partition that cannot be mounted: the next start makes it anew.

    The name first: a cut then leaves a partition that is as damaged as before. Raises StateError
    for one that is not there.
    """
    with Disk(disk) as opened:
        if not has_data(read_table(opened)):
            message = "There is no data partition on this card."
            raise StateError(message, hint="restart the appliance")
        if read_label(opened, DATA.start) == DATA.label:
            give_up(opened, DATA.start, NEW_DATA_LABEL)
        remove_data(opened)


def has_kept(paths: Paths) -> bool:
    return (paths.before_reset / "hearth").is_dir()


def load_order(paths: Paths) -> Order | None:
    """Raises ConfigError for a damaged one: it was written as a whole or not at all."""
    if not paths.reset.exists():
        return None
    try:
        table = without_unknown(Order, json.loads(paths.reset.read_text()))
        return parse_table(Order, table, where=paths.reset.name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {paths.reset}: {error}") from error


def save_order(paths: Paths, order: Order) -> None:
    _save(paths, order, paths.reset)


def load_done(paths: Paths) -> Done | None:
    try:
        table = without_unknown(Done, json.loads(paths.reset_done.read_text()))
        return parse_table(Done, table, where=paths.reset_done.name)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ConfigError) as error:
        logger.warning("cannot use %s: %s", paths.reset_done, error)
        return None


def save_done(paths: Paths, done: Done) -> None:
    _save(paths, done, paths.reset_done)


def age(paths: Paths) -> None:
    """Once in an hour of running: what was kept goes when its day is over."""
    done = load_done(paths)
    if paths.before_reset.exists() and not paths.reset.exists():
        hours = done.hours - 1 if done and done.kept else 0
        if hours > 0 and done:
            save_done(paths, replace(done, hours=hours))
        else:
            save_done(paths, replace(done or Done(), kept=False, hours=0))
            put_away(paths, paths.before_reset)
    for doomed in paths.data.glob(f"{DISCARDED}*"):
        logger.info("deleting what a factory reset has put aside")
        shutil.rmtree(doomed, ignore_errors=True)


def put_away(paths: Paths, place: Path) -> None:
    """Out of everybody's sight in one step; ``age`` deletes it."""
    if place.exists():
        place.rename(paths.data / f"{DISCARDED}{uuid.uuid4().hex}")
        fsync_directory(paths.data)


def _save(paths: Paths, value: object, file: Path) -> None:
    text = json.dumps(to_table(value), indent=1) + "\n"
    write_atomic(file, text, mode=0o640, owner=find_owner(paths, "root", READER))
