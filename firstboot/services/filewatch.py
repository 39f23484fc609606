"""News of files in a directory: inotify(7), for which the standard library has no door."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

IN_CLOSE_WRITE = 0x8
IN_MOVED_TO = 0x80
IN_DELETE = 0x200
READ_SIZE = 4096


class FileWatch:
    """``fileno`` becomes readable when a file in one of the directories is replaced or gone."""

    def __init__(self, *directories: Path) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._fd = _checked(library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE
        for directory in directories:
            _checked(library.inotify_add_watch(self._fd, os.fsencode(directory), mask))

    def fileno(self) -> int:
        return self._fd

    def drain(self) -> None:
        """Forget the news so far; the caller looks at the files themselves."""
        try:
            while os.read(self._fd, READ_SIZE):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self._fd)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno() or errno.EINVAL
        raise OSError(number, os.strerror(number))
    return result
