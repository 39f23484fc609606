"""Carrying a factory reset out, or bringing back what one has kept: run by the initramfs.

``chroot SLOT python3 -m firstboot.reset_card``, with the data partition mounted on /data and before
anything is bound into it. Everything is a rename within one file system, so neither 30 GB of photos
nor a full card make it slow. The order on the card says how far it is; a start after a power cut
goes on there, and nothing else starts before it is through.

Exit codes: 0 for done (or nothing to do), 3 for given up before anything was moved, 1 for neither:
then the data must not be used.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from appliance.atomic import fsync_directory
from appliance.channelindex import CRL_NAME, INDEX_NAME
from appliance.errors import ConfigError, HearthError, StateError
from appliance.log import logger, report_error, setup_logging
from appliance.paths import Paths
from appliance.settings import load_settings
from firstboot.kept import carry_network
from firstboot.skeleton import make_skeleton
from services.reset import (
    DISCARDED,
    FRESH,
    KEEP_HOURS,
    Act,
    Done,
    Order,
    Step,
    has_kept,
    load_done,
    load_order,
    put_away,
    save_done,
    save_order,
)
from services.update.state import HISTORY, STATE

GIVEN_UP = 3
STRAY = ".reset"  # the temporary files of our own writes, left by a power cut
PASSED_OVER = (DISCARDED, STRAY)
# What the updater and RAUC know of the slots: the card's, whoever's data are on it.
CARDS_OWN = ("hearth/update", "system/rauc")
SKELETON = "made"  # under FRESH: make_skeleton makes the directory itself


def perform(paths: Paths) -> bool:
    """Whether there was anything to do. Raises whatever stood in the way, with the order kept."""
    order = load_order(paths)
    if order is None:
        return False
    while True:
        STEPS[order.step](paths, order)
        if order.step is Step.END:
            return True
        order = replace(order, step=AFTER[order.step])
        save_order(paths, order)


def _begin(paths: Paths, order: Order) -> None:
    """What comes is complete before anything that is there is touched."""
    if order.act is Act.BRING_BACK:
        if not has_kept(paths):
            raise StateError("the data of before the reset are not there any more")
        put_away(paths, _away_place(paths, order))
    else:
        put_away(paths, paths.before_reset)  # of an earlier reset
        fresh = paths.data / FRESH
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        make_skeleton(fresh / SKELETON)
        _carry_over(paths, Paths(fresh))
    _away_place(paths, order).mkdir(mode=0o700)
    os.sync()


def _carry_over(paths: Paths, fresh: Paths) -> None:
    """What an update knows is the card's, not the owner's: which keys were revoked, how far a
    channel is, which slot waits. But the files kept for a trial hold the owner's secrets, and a
    bundle from a stick has gigabytes: no time for them here, where the watchdog waits. And without
    the Wi-Fi that was set at flashing nobody would ever reach it again.
    """
    if paths.update.is_dir():
        target = fresh.root / SKELETON / paths.update.relative_to(paths.data)
        target.mkdir(mode=0o750)
        for name in (STATE, HISTORY, CRL_NAME, f"*-{INDEX_NAME}"):
            for file in paths.update.glob(name):
                shutil.copy2(file, target / file.name)
    carry_network(paths, fresh.root / SKELETON / paths.hearth.relative_to(paths.data))


def _away(paths: Paths, order: Order) -> None:
    place = _away_place(paths, order)
    for entry in sorted(paths.data.iterdir()):
        if not _is_reserved(paths, entry):
            entry.rename(place / entry.name)
    _flush(place, paths.data)


def _bring_in(paths: Paths, order: Order) -> None:
    source = _source(paths, order)
    for entry in sorted(source.iterdir()):
        entry.rename(paths.data / entry.name)
    _flush(source, paths.data)


def _end(paths: Paths, order: Order) -> None:
    before = load_done(paths) or Done()
    shutil.rmtree(paths.data / FRESH, ignore_errors=True)
    for stray in paths.data.glob(f"{STRAY}*"):
        stray.unlink()
    if order.act is Act.BRING_BACK:
        _keep_the_cards_own(paths, _away_place(paths, order))
        put_away(paths, paths.before_reset)
        done = replace(before, kept=False, hours=0)
    else:
        # A file on the card that could not be removed was obeyed, whoever ordered this reset.
        done = Done(request=order.request or before.request, at=order.at)
        if order.keep:
            done = _described(paths, replace(done, kept=True, hours=KEEP_HOURS))
        else:
            put_away(paths, paths.before_reset)
    save_done(paths, done)
    paths.reset.unlink()
    fsync_directory(paths.data)


def _keep_the_cards_own(paths: Paths, away: Path) -> None:
    """Data that are brought back know of slots, revoked keys and channels as they were before."""
    for name in CARDS_OWN:
        present, brought = away / name, paths.data / name
        if present.is_dir():  # else a cut came after it
            put_away(paths, brought)
            brought.parent.mkdir(exist_ok=True)
            present.rename(brought)
            _flush(present.parent, brought.parent)


STEPS: dict[Step, Callable[[Paths, Order], None]] = {
    Step.BEGIN: _begin,
    Step.AWAY: _away,
    Step.IN: _bring_in,
    Step.END: _end,
}
AFTER = dict(zip(tuple(Step), tuple(Step)[1:], strict=False))


def _away_place(paths: Paths, order: Order) -> Path:
    is_reset = order.act is Act.RESET
    return paths.before_reset if is_reset else paths.data / f"{DISCARDED}brought-back"


def _source(paths: Paths, order: Order) -> Path:
    return paths.data / FRESH / SKELETON if order.act is Act.RESET else paths.before_reset


def _is_reserved(paths: Paths, entry: Path) -> bool:
    ours = (paths.reset, paths.reset_done, paths.before_reset, paths.data / FRESH)
    return entry in ours or entry.name == "lost+found" or entry.name.startswith(PASSED_OVER)


def _described(paths: Paths, done: Done) -> Done:
    """Whose data were kept, for the page that offers them."""
    try:
        settings = load_settings(paths.before_reset / "hearth" / "settings.toml")
    except ConfigError:
        settings = None
    if settings is None:
        return done
    return replace(done, server_name=settings.server.name, owner_name=settings.owner.name)


def _flush(*places: Path) -> None:
    for place in places:
        fsync_directory(place)


def _cancel(paths: Paths) -> None:
    """Nothing was moved: the appliance goes on as it was."""
    logger.warning("the factory reset is given up; nothing was changed")
    shutil.rmtree(paths.data / FRESH, ignore_errors=True)
    paths.reset.unlink(missing_ok=True)
    fsync_directory(paths.data)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python3 -m firstboot.reset_card", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("/"), help="for tests")
    paths = Paths(parser.parse_args(arguments).root)
    setup_logging()
    try:
        perform(paths)
    except (HearthError, OSError) as error:
        if isinstance(error, HearthError):
            report_error(error)
        else:
            logger.exception("the factory reset has stopped")
        return _give_up(paths)
    return 0


def _give_up(paths: Paths) -> int:
    try:
        order = load_order(paths)
        if order is None or order.step is not Step.BEGIN:
            return 1
        _cancel(paths)
    except (HearthError, OSError):
        logger.exception("the order stays")
        return 1
    return GIVEN_UP


if __name__ == "__main__":
    sys.exit(main())
