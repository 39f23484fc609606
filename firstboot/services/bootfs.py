"""Files on bootfs, the FAT partition that the owner can read on any computer.

It is mounted read-only: the firmware starts from it, and FAT has no journal. A write remounts it
for that moment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from appliance.atomic import fsync_directory, write_atomic
from appliance.errors import HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.run import run

CLAIM_CODE_FILE = "claim-code.txt"
REMOUNT_SECONDS = 30
MAX_BYTES = 64 * 1024  # nobody types more; a file that fell here by mistake must not use up memory

_writing = threading.Lock()


def write_file(paths: Paths, name: str, text: str, *, wipe: bool = False) -> None:
    """Replace a file on bootfs. Raises StateError when bootfs cannot be written.

    With ``wipe`` the old content is overwritten as well, before its clusters are given up: in free
    ones nothing finds it any more. Until that is done the new content is in a file beside it, for
    ``finish_write`` to go on from after a power cut.
    """
    target = paths.bootfs / name
    if read_file(paths, name) == text:
        return
    with _writable(paths):
        if wipe and target.exists():
            write_atomic(_beside(target), text)
            _move_in(target)
        else:
            write_atomic(target, text)


def finish_write(paths: Paths, name: str) -> None:
    """Nothing, but after a power cut in ``write_file`` with ``wipe``. Raises StateError."""
    if _beside(paths.bootfs / name).exists():
        with _writable(paths):
            _move_in(paths.bootfs / name)


def _beside(target: Path) -> Path:
    return target.with_name(f"{target.name}.new")


def _move_in(target: Path) -> None:
    if target.exists():
        with target.open("r+b") as old:
            _overwrite(old)
    _beside(target).replace(target)
    fsync_directory(target.parent)


def remove_file(paths: Paths, name: str) -> None:
    target = paths.bootfs / name
    if not target.exists():
        return
    with _writable(paths):
        target.unlink(missing_ok=True)
        fsync_directory(target.parent)


def wipe_file(paths: Paths, name: str) -> None:
    """Remove a file with secrets in it; its content is overwritten first.

    A cut in between leaves a file of zeros, which ``read_file`` takes for none. Raises StateError.
    """
    target = paths.bootfs / name
    if not target.exists():
        return
    with _writable(paths):
        with target.open("r+b") as file:
            _overwrite(file)
        target.unlink()
        fsync_directory(target.parent)


def _overwrite(file: BinaryIO) -> None:
    # A card that levels its wear may keep the old blocks all the same, out of a computer's reach.
    file.seek(0)
    file.write(bytes(os.fstat(file.fileno()).st_size))
    file.flush()
    os.fsync(file.fileno())


def read_file(paths: Paths, name: str) -> str | None:
    """The text, or None where there is none. Editors on Windows may put a byte order mark first."""
    if is_too_large(paths, name):
        return None
    target = paths.bootfs / name
    whole = _beside(target)  # after a power cut: what it replaces may be zeros by now
    try:
        text = (whole if whole.exists() else target).read_text("utf-8-sig", errors="replace")
    except OSError:
        return None
    return text if text.strip("\0") or not text else None


def is_too_large(paths: Paths, name: str) -> bool:
    try:
        return (paths.bootfs / name).stat().st_size > MAX_BYTES
    except OSError:
        return False


@contextmanager
def _writable(paths: Paths) -> Iterator[None]:
    with _writing:
        try:
            is_mount = os.path.ismount(paths.bootfs)
            if is_mount:
                _remount(paths.bootfs, "rw")
            try:
                yield
            finally:
                if is_mount:
                    _remount(paths.bootfs, "ro")
        except (OSError, HearthError) as error:
            logger.warning("bootfs was not written: %s", error)
            message = f"the boot partition cannot be written: {error}"
            raise StateError(message, hint="the card may be write-protected or worn out") from error


def _remount(path: Path, how: str) -> None:
    # "ro" also writes back what the page cache still holds: mount(2), MS_REMOUNT.
    run(["mount", "-o", f"remount,{how}", path], timeout=REMOUNT_SECONDS)
