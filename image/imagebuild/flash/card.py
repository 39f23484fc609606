"""The disk that is written: opened for us alone, read and written past the page cache.

With O_DIRECT (open(2)) the rate that is shown is that of the card, and what is read back comes from
the card and not from memory.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.errors import (
    DiskError,
    DiskFaultError,
    DiskGoneError,
    HearthError,
    PrivilegeError,
)

BLKRRPART = 0x125F  # linux/fs.h: read the partition table again
CDROMEJECT = 0x5309  # linux/cdrom.h; the SCSI layer takes it for every disk (scsi_ioctl.c)
GONE = (errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.ESHUTDOWN)


def make_buffer(size: int) -> memoryview:
    """Memory as O_DIRECT wants it: mmap gives whole pages."""
    return memoryview(mmap.mmap(-1, size))


class Card:
    """An open disk; ``size`` in bytes. All errors are HearthErrors that name the disk."""

    def __init__(self, path: Path, descriptor: int, *, direct: bool) -> None:
        self.path = path
        self._descriptor = descriptor
        self._direct = direct
        self.size = os.lseek(descriptor, 0, os.SEEK_END)

    def write(self, view: memoryview, offset: int) -> None:
        with self._explained(f"be written at {offset / 1e9:.2f} GB"):
            while view:
                count = os.pwritev(self._descriptor, [view], offset)
                view, offset = view[count:], offset + count

    def read(self, view: memoryview, offset: int) -> None:
        with self._explained(f"be read at {offset / 1e9:.2f} GB"):
            if not self._direct:
                os.posix_fadvise(self._descriptor, offset, len(view), os.POSIX_FADV_DONTNEED)
            while view:
                count = os.preadv(self._descriptor, [view], offset)
                if count == 0:
                    raise OSError(errno.EIO, "it ends before its size")
                view, offset = view[count:], offset + count

    def sync(self) -> None:
        with self._explained("keep what was written"):
            os.fsync(self._descriptor)

    def forget(self) -> None:
        """Drop what the kernel remembers of it; other programs then read the card itself."""
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def eject(self) -> bool:
        """Let a USB reader drop its card; False where there is nothing to eject."""
        with suppress(OSError):
            fcntl.ioctl(self._descriptor, CDROMEJECT)
            return True
        with suppress(OSError):
            fcntl.ioctl(self._descriptor, BLKRRPART)
        return False

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain(self.path, error, what) from error


def explain(path: Path, error: OSError, what: str) -> HearthError:
    """An input or output error in a person's words."""
    name = path.name
    if error.errno in GONE or not path.exists():
        return gone(name)
    if error.errno in (errno.EROFS, errno.EPERM):
        return write_protected(name)
    reason = "it ends there" if error.errno == errno.ENOSPC else error.strerror
    hint = "clean the contacts or try another reader; if it stays so, the card is worn out"
    return DiskFaultError(f"{name} could not {what}: {reason}", hint=hint)


def gone(name: str) -> DiskGoneError:
    message = f"{name} was pulled out, or its reader lost it; it holds no working system now"
    return DiskGoneError(message, hint="put the card in again and start over")


def write_protected(name: str) -> DiskFaultError:
    hint = "move the small switch at its side; a card without one is worn out and must be replaced"
    return DiskFaultError(f"{name} is write-protected", hint=hint)


@contextmanager
def open_card(path: Path) -> Iterator[Card]:
    """Open it for us alone. Raises DiskError when the kernel says that it is in use."""
    # On a block device O_EXCL without O_CREAT fails while a file system, swap, LVM or RAID on it or
    # on one of its partitions is in use (open(2)).
    flags = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC
    try:
        try:
            descriptor, direct = os.open(path, flags | os.O_DIRECT), True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            descriptor, direct = os.open(path, flags), False
    except OSError as error:
        raise _not_opened(path, error) from error
    try:
        yield Card(path, descriptor, direct=direct)
    finally:
        os.close(descriptor)


def _not_opened(path: Path, error: OSError) -> HearthError:
    name = path.name
    match error.errno:
        case errno.EACCES | errno.EPERM:
            message = f"{path} may not be written by this user"
            return PrivilegeError(message, hint="run it again with sudo")
        case errno.EROFS:
            return write_protected(name)
        case errno.EBUSY:
            message = f"{name} is in use by this computer"
            return DiskError(message, hint="unmount what is on it, and close what shows its files")
        case errno.ENOMEDIUM | errno.ENOENT | errno.ENXIO | errno.ENODEV:
            return DiskError(f"{name} is not there, or has no card in it", hint="put the card in")
        case _:
            return DiskFaultError(f"{name} cannot be opened: {error.strerror}",
                                  hint="try another reader or another card")  # fmt: skip
