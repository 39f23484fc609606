"""Data of an earlier Hearth on a card that was flashed again: looked at, adopted or given up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import CommandError, StateError
from appliance.layout import DATA, NEW_DATA_LABEL
from appliance.log import logger
from appliance.run import run
from appliance.settings import load_secrets
from services.disk import Disk
from services.mbr import add_data, data_size, has_data, read_table
from services.passwords import verify_secret
from services.superblock import give_up, read_label

FSCK_SECONDS = 1800
MOUNT_SECONDS = 60
FSCK_FIXED = 1  # e2fsck(8): errors corrected


class OldOwner:
    """Read from the card once: anybody on the network may guess, and must not keep it checking.

    The check writes (it replays the journal) and may take minutes, in which nobody else's claim
    code or password is looked at.
    """

    def __init__(self, disk: Path, *, mount_point: Path) -> None:
        self._disk = disk
        self._mount_point = mount_point
        self._found: str | StateError | None = None

    def has(self, password: str) -> bool:
        """Whether ``password`` is the old owner's. Raises StateError when nobody can be asked."""
        if self._found is None:
            self._found = self._look()
        if isinstance(self._found, StateError):
            raise StateError(self._found.message, hint=self._found.hint)  # its own traceback
        return verify_secret(password, self._found)

    def _look(self) -> str | StateError:
        try:
            with mounted(self._disk, self._mount_point) as root:
                stored = load_secrets(root / "hearth" / "secrets.toml").owner_password_hash
        except StateError as error:
            return error
        message = "The earlier Hearth on this card was never set up, so it has no owner."
        return stored or StateError(message, hint="erase its data and begin anew")


@contextmanager
def mounted(disk: Path, mount_point: Path, *, check: bool = True) -> Iterator[Path]:
    """The found file system, checked and mounted read-only, without a partition.

    Without ``check`` nothing is written, and what the journal holds is not seen. Raises StateError
    when the check gives up or the mount fails.
    """
    with Disk(disk) as opened:
        size = data_size(opened)
    mount_point.mkdir(mode=0o700, parents=True, exist_ok=True)
    argv = ["losetup", "--find", "--show", "--offset", str(DATA.start), "--sizelimit", str(size)]
    loop = run([*argv, disk], timeout=MOUNT_SECONDS).stdout.strip()
    try:
        if check:
            _check(loop)
        _mount(loop, mount_point, "ro" if check else "ro,noload")
        try:
            yield mount_point
        finally:
            run(["umount", mount_point], timeout=MOUNT_SECONDS)
    finally:
        run(["losetup", "--detach", loop], timeout=MOUNT_SECONDS)


def _check(loop: str) -> None:
    result = run(["e2fsck", "-p", loop], check=False, timeout=FSCK_SECONDS)
    if result.returncode > FSCK_FIXED:
        logger.warning("e2fsck -p gave up:\n%s", result.stdout)
        message = "The file system with the earlier data is damaged beyond automatic repair."
        hint = "keep the card, and let somebody look at it with e2fsck on another computer"
        raise StateError(message, hint=hint)


def _mount(loop: str, mount_point: Path, how: str) -> None:
    options = f"{how},nosuid,nodev,noexec"
    try:
        run(["mount", "-t", "ext4", "-o", options, loop, mount_point], timeout=MOUNT_SECONDS)
    except CommandError as error:
        logger.warning("the earlier data cannot be mounted: %s", error.message)
        message = "The earlier data on this card cannot be opened."
        raise StateError(message, hint="look at the log of hearth-agent") from error


def adopt(disk: Path) -> None:
    """Give the found file system its partition; the next boot uses it."""
    with Disk(disk) as opened:
        _require_found(opened)
        add_data(opened)


def erase(disk: Path) -> None:
    """Give the found data up: from this one sector write on the next boot makes them anew."""
    with Disk(disk) as opened:
        _require_found(opened)
        give_up(opened, DATA.start, NEW_DATA_LABEL)


def _require_found(disk: Disk) -> None:
    if has_data(read_table(disk)) or read_label(disk, DATA.start) != DATA.label:
        message = "There are no data of an earlier Hearth waiting on this card."
        raise StateError(message, hint="restart the appliance")
