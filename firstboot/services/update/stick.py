"""A bundle from a USB stick or a file: copied to the card, verified, and offered to the owner.

Copied, because people pull sticks, and because what was verified must be what is installed. The
copy goes once it is installed, cancelled or forgotten. What is wrong with a stick is remembered,
too, and leaves an earlier offer alone.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from appliance.atomic import fsync_directory
from appliance.errors import ConfigError, ConflictError, HearthError, ImageError, StateError
from appliance.layout import MIB, SLOT_A
from appliance.log import logger, progress
from appliance.paths import Paths
from appliance.run import run
from appliance.update import Stage, UpdateState
from services.owners import ensure_directory
from services.results import load_result, save_result
from services.slots import booted_disk
from services.update.choose import parse_version, version_of
from services.update.gates import INSTALL_BYTES, check_facts, check_space
from services.update.lock import update_lock
from services.update.machine import read_machine
from services.update.rauc import BundleInfo, Rauc
from services.update.state import load_update, save_update

RESULT = "update-stick"
PATTERN = "*.raucb"
MOST_FILES = 3  # each is copied before it can be looked at
# A bundle holds one slot, compressed, and a tree of hashes: never more than this.
MAX_BYTES = (SLOT_A.size or 0) + 64 * MIB
CHUNK = 4 * MIB
# Of running: a clock that was wrong until now must not make an offer old.
KEPT_HOURS, TOLD_HOURS = 7 * 24, 24
MOUNT_SECONDS = 60
# Another update's end is waited for as long as this (hearth-stick@.service has a limit, too).
PATIENCE = 600.0
# Nothing on a stranger's stick is a program, a device, or anybody's but root's.
OPTIONS = "ro,nosuid,nodev,noexec,umask=0077"


@dataclass(frozen=True, kw_only=True)
class StickResult:
    """What was found last. ``version``, ``size`` (in bytes) and ``name`` are of what can be
    installed; ``trouble`` is a sentence about the last stick, where nothing on it could be used.
    ``at`` in seconds since the epoch, ``hours`` of running since then.
    """

    at: float
    version: str = ""
    size: int = 0
    name: str = ""
    trouble: str = ""
    hint: str = ""
    hours: int = 0


def copy_of(paths: Paths) -> Path:
    return paths.update / "bundle.raucb"


def find_stick_offer(paths: Paths) -> StickResult | None:
    """What may be installed from the copy; None where there is no copy."""
    found = load_result(paths, RESULT, StickResult)
    return found if found and found.version and copy_of(paths).exists() else None


def look_at_stick(paths: Paths, device: Path, rauc: Rauc, now: float) -> StickResult | None:
    """Mount a stick and take what is on it; None where there is nothing to do with us.

    Never raises a HearthError: what went wrong is in the result.
    """
    if re.fullmatch(rf"{re.escape(booted_disk(paths).name)}p?[0-9]*", device.name):
        return None  # our own bootfs, on a machine that starts from USB
    try:
        with mounted(device, paths.root / f"run/hearth-stick-{device.name}") as place:
            return take_from(paths, place, rauc, now)
    except HearthError as error:
        logger.warning("the stick cannot be read: %s", error.message)
        return None


def take_from(
    paths: Paths, place: Path, rauc: Rauc, now: float, *, patience: float = PATIENCE
) -> StickResult | None:
    """What is on a mounted stick, when no other update is under way (any more)."""
    try:
        files = find_bundles(place)
        if not files:
            return None
        with update_lock(paths, seconds=patience):
            return take(paths, files, rauc, now)
    except ConflictError as error:
        again = ConflictError(error.message, hint="plug the stick in again when that is over")
        result = _troubled(paths, "The stick was not looked at", again, now)
    except OSError as error:
        result = _troubled(paths, "The stick cannot be read", error, now)
    save_result(paths, RESULT, result)
    return result


@contextmanager
def mounted(device: Path, place: Path) -> Iterator[Path]:
    place.mkdir(mode=0o700, exist_ok=True)
    run(["mount", "-t", "vfat", "-o", OPTIONS, device, place], timeout=MOUNT_SECONDS)
    try:
        yield place
    finally:
        run(["umount", "--lazy", place], check=False, timeout=MOUNT_SECONDS)


def find_bundles(place: Path) -> tuple[Path, ...]:
    """Those at the top of the stick, the newest by their names first. Raises OSError."""
    found = [one for one in place.glob(PATTERN) if stat.S_ISREG(one.lstat().st_mode)]
    newest_first = sorted(found, key=lambda one: (_version_in(one.stem), one.name), reverse=True)
    return tuple(newest_first[:MOST_FILES])


def _version_in(name: str) -> Version:
    """1.10 of ``hearth-1.10``; a name that tells none comes last."""
    found = re.search(r"(?:^|-)(\d[\w.+]*)", name)
    try:
        return parse_version(found[1] if found else "")
    except ConfigError:
        return parse_version("0")


def take(paths: Paths, files: Sequence[Path], rauc: Rauc, now: float) -> StickResult:
    """Copy and verify each, keep the newest that is for this machine, and remember it."""
    result = _choose(paths, files, rauc, now)
    save_result(paths, RESULT, result)
    return result


def _choose(paths: Paths, files: Sequence[Path], rauc: Rauc, now: float) -> StickResult:
    best: StickResult | None = None
    kept: BundleInfo | None = None
    troubles: list[StickResult] = []
    for file in files:
        try:
            size, info = _take_one(paths, file, rauc, kept)
        except (HearthError, OSError) as error:
            _new(paths).unlink(missing_ok=True)
            troubles.append(_troubled(paths, file.name, error, now))
            continue
        if info is not None:
            kept = info
            best = StickResult(at=now, version=info.facts.version, size=size, name=file.name)
    if best is None:
        return troubles[0]
    _drop_wish(paths)
    return best


def _troubled(paths: Paths, what: str, error: HearthError | OSError, now: float) -> StickResult:
    """What was offered before still is."""
    words = error.message if isinstance(error, HearthError) else f"{error.strerror}"
    hint = (isinstance(error, HearthError) and error.hint) or "try another stick"
    logger.warning("%s: %s", what, words)
    before = find_stick_offer(paths) or StickResult(at=now)
    return replace(before, at=now, trouble=f"{what}: {words}", hint=hint, hours=0)


def _drop_wish(paths: Paths) -> None:
    """What failed from the copy of before, and would be tried again from it, is over."""
    state = load_update(paths)
    if state.stage is Stage.IDLE and state.source == str(copy_of(paths)):
        save_update(paths, UpdateState())


def _take_one(
    paths: Paths, file: Path, rauc: Rauc, kept: BundleInfo | None
) -> tuple[int, BundleInfo | None]:
    """None for one that is older than what was kept already."""
    state = load_update(paths)
    if state.stage is Stage.INSTALLING and state.source == str(copy_of(paths)):
        message = f"version {state.version} is being installed"
        raise ConflictError(message, hint="wait for its end")
    with progress(f"Copying {file.name}"):
        size = _copy(paths, file)
    info = rauc.inspect(str(_new(paths)))
    check_facts(info.facts, read_machine(paths))
    if kept is not None and version_of(info.facts) <= version_of(kept.facts):
        _new(paths).unlink()
        return size, None
    _word(paths).unlink(missing_ok=True)  # it is of another copy
    _new(paths).replace(copy_of(paths))
    fsync_directory(paths.update)
    return size, info


def _copy(paths: Paths, file: Path) -> int:
    """As much as the file had at first: whatever changes meanwhile, no more is written."""
    ensure_directory(paths, paths.update, group="hearth-ui", mode=0o750)
    _new(paths).unlink(missing_ok=True)
    size = file.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise ImageError(f"{file.name} has {size} bytes: this is no bundle")
    check_space(paths.data, needed=size + INSTALL_BYTES)
    with file.open("rb") as source, _new(paths).open("xb") as target:
        left = size
        while chunk := source.read(min(CHUNK, left)):
            target.write(chunk)
            left -= len(chunk)
        target.flush()
        os.fsync(target.fileno())
    if left:
        raise ImageError(f"{file.name} could not be read to its end", hint="try another stick")
    return size


def forget(paths: Paths) -> None:
    """The copy and the word of it."""
    for file in (copy_of(paths), _new(paths), _word(paths)):
        file.unlink(missing_ok=True)


def age(paths: Paths) -> None:
    """Called once in an hour of running."""
    found = load_result(paths, RESULT, StickResult)
    if found is None or found.hours >= KEPT_HOURS:
        return
    older = replace(found, hours=found.hours + 1)
    if older.hours >= TOLD_HOURS:
        older = replace(older, trouble="", hint="")
    save_result(paths, RESULT, older)


def tidy(paths: Paths) -> None:
    """What nobody installed for a week of running gives its room back, and what was cut short.

    The caller holds services.update.lock: nobody is copying.
    """
    if _new(paths).exists():
        logger.info("a copy from a stick that was cut short is removed")
        _new(paths).unlink()
    state, found = load_update(paths), load_result(paths, RESULT, StickResult)
    needed = state.source == str(copy_of(paths)) and state.stage is Stage.INSTALLING
    fresh = found is not None and found.version and found.hours < KEPT_HOURS
    if copy_of(paths).exists() and not needed and not fresh:
        logger.info("the bundle that nobody installed is removed")
        forget(paths)
        _drop_wish(paths)


def import_file(paths: Paths, file: Path, rauc: Rauc, now: float) -> StickResult:
    """One file that a person named. Raises HearthError with what is wrong with it."""
    if not file.is_file():
        raise StateError(f"{file} is not there", hint="name a bundle: hearth-1.2.raucb")
    result = _choose(paths, [file], rauc, now)
    if result.trouble:
        raise ImageError(result.trouble, hint=result.hint)
    save_result(paths, RESULT, result)
    return result


def _word(paths: Paths) -> Path:
    return paths.results / f"{RESULT}.json"


def _new(paths: Paths) -> Path:
    return paths.update / "bundle.raucb.new"
