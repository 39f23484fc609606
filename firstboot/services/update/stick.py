"""A bundle from a USB stick or a file: copied to the card, verified, and offered to the owner.

Copied, because people pull sticks, and because what was verified must be what is installed. The
copy goes once it is installed, cancelled or forgotten.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import fsync_directory
from appliance.errors import ConflictError, HearthError, ImageError, StateError
from appliance.layout import MIB, SLOT_A
from appliance.log import logger, progress
from appliance.paths import Paths
from appliance.run import run
from appliance.update import Stage
from services.owners import ensure_directory
from services.results import load_result, save_result
from services.slots import booted_disk
from services.update.choose import version_of
from services.update.gates import INSTALL_BYTES, check_facts, check_space
from services.update.machine import read_machine
from services.update.rauc import BundleInfo, Rauc
from services.update.state import load_update

RESULT = "update-stick"
PATTERN = "*.raucb"
MOST_FILES = 3  # each is copied before it can be looked at
# A bundle holds one slot, compressed, and a tree of hashes: never more than this.
MAX_BYTES = (SLOT_A.size or 0) + 64 * MIB
CHUNK = 4 * MIB
KEPT_SECONDS = 7 * 24 * 3600.0
MOUNT_SECONDS = 60
# Nothing on a stranger's stick is a program, a device, or anybody's but root's.
OPTIONS = "ro,nosuid,nodev,noexec,umask=0077"


@dataclass(frozen=True, kw_only=True)
class StickResult:
    """What was found last. ``version`` is empty where nothing can be installed, and ``trouble``
    then says why. ``size`` in bytes, ``at`` in seconds since the epoch.
    """

    at: float
    version: str = ""
    size: int = 0
    name: str = ""
    trouble: str = ""
    hint: str = ""


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
        with mounted(device, paths.root / "run/hearth-stick") as place:
            files = find_bundles(place)
            return take(paths, files, rauc, now) if files else None
    except HearthError as error:
        logger.warning("the stick cannot be read: %s", error.message)
        return None


@contextmanager
def mounted(device: Path, place: Path) -> Iterator[Path]:
    place.mkdir(mode=0o700, exist_ok=True)
    run(["mount", "-t", "vfat", "-o", OPTIONS, device, place], timeout=MOUNT_SECONDS)
    try:
        yield place
    finally:
        run(["umount", "--lazy", place], check=False, timeout=MOUNT_SECONDS)


def find_bundles(place: Path) -> tuple[Path, ...]:
    """Those at the top of the stick, the name that sorts last first."""
    found = [one for one in place.glob(PATTERN) if stat.S_ISREG(one.lstat().st_mode)]
    return tuple(sorted(found, reverse=True)[:MOST_FILES])


def take(paths: Paths, files: Sequence[Path], rauc: Rauc, now: float) -> StickResult:
    """Copy and verify each, keep the newest that is for this machine, and remember it."""
    best, trouble = StickResult(at=now), StickResult(at=now)
    kept: BundleInfo | None = None
    for file in files:
        try:
            size, info = _take_one(paths, file, rauc, kept)
        except (HearthError, OSError) as error:
            _new(paths).unlink(missing_ok=True)
            words = error.message if isinstance(error, HearthError) else f"{error.strerror}"
            hint = (isinstance(error, HearthError) and error.hint) or "try another stick"
            logger.warning("%s: %s", file.name, words)
            trouble = StickResult(at=now, name=file.name, trouble=words, hint=hint)
            continue
        if info is not None:
            kept = info
            best = StickResult(at=now, version=info.facts.version, size=size, name=file.name)
    result = best if best.version else trouble
    save_result(paths, RESULT, result)
    return result


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
    for file in (copy_of(paths), _new(paths), paths.results / f"{RESULT}.json"):
        file.unlink(missing_ok=True)


def tidy(paths: Paths, now: float) -> None:
    """A copy that nobody installed for a week gives its room back."""
    state, found = load_update(paths), load_result(paths, RESULT, StickResult)
    needed = state.source == str(copy_of(paths)) and state.stage is not Stage.INSTALLED
    fresh = found is not None and 0 <= now - found.at < KEPT_SECONDS
    if copy_of(paths).exists() and not needed and not fresh:
        logger.info("the bundle that nobody installed is removed")
        forget(paths)


def import_file(paths: Paths, file: Path, rauc: Rauc, now: float) -> StickResult:
    """One file that a person named. Raises HearthError with what is wrong with it."""
    if not file.is_file():
        raise StateError(f"{file} is not there", hint="name a bundle: hearth-1.2.raucb")
    result = take(paths, [file], rauc, now)
    if result.trouble:
        raise ImageError(f"{file.name}: {result.trouble}", hint=result.hint)
    return result


def _new(paths: Paths) -> Path:
    return paths.update / "bundle.raucb.new"
