"""A whole disk (or its image) as bytes: few writes, each flushed before the next."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import TracebackType

from appliance.errors import ImageError

PAGE = 65536  # the largest page that an arm64 kernel may have


class Disk:
    """Open for reading and writing; closes as a context manager."""

    def __init__(self, path: Path) -> None:
        """Raises ImageError when the disk is missing or write-protected."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            message = f"{path} cannot be opened for writing: {error.strerror}"
            raise ImageError(message, hint="is the card write-protected?") from error
        self.size = os.lseek(self._fd, 0, os.SEEK_END)
        self.is_block_device = stat.S_ISBLK(os.fstat(self._fd).st_mode)

    def __enter__(self) -> Disk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def read(self, at: int, length: int) -> bytes:
        """From the card itself: a disk's page cache does not see writes through a partition's."""
        start = at // PAGE * PAGE
        os.posix_fadvise(self._fd, start, at + length - start + PAGE, os.POSIX_FADV_DONTNEED)
        return os.pread(self._fd, length, at)

    def write(self, at: int, data: bytes) -> None:
        """Write and wait until the card has it; nothing that comes later can be there earlier."""
        written = os.pwrite(self._fd, data, at)
        if written != len(data):
            raise ImageError(f"{self.path}: only {written} of {len(data)} bytes were written")
        self.flush()

    def flush(self) -> None:
        """Also what other processes wrote through the same device: one page cache, fsync(2)."""
        os.fsync(self._fd)
