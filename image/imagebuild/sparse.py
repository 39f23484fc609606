"""Files with holes: only what holds data is read, however large the file is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from appliance.layout import MIB

BLOCK = 4 * MIB


def data_blocks(
    file: BinaryIO, position: int = 0, end: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """Offset and content of all that is data, at most 4 MiB at a time (lseek(2), SEEK_DATA)."""
    end = os.fstat(file.fileno()).st_size if end is None else end
    while position < end:
        try:
            start = os.lseek(file.fileno(), position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = min(os.lseek(file.fileno(), start, os.SEEK_HOLE), end)
        while start < position:
            block = os.pread(file.fileno(), min(BLOCK, position - start), start)
            yield start, block
            start += len(block)


def copy_sparse(source: Path, target: int, offset: int) -> None:
    """Copy the data of ``source`` to ``offset`` of an open file and leave its holes out."""
    with source.open("rb") as file:
        for start, block in data_blocks(file):
            os.pwrite(target, block, offset + start)


def copy_part(source: Path, offset: int, size: int, target: Path) -> None:
    """``size`` bytes of ``source`` from ``offset`` on as a new file, holes again as holes."""
    with source.open("rb") as file, target.open("wb") as copy:
        copy.truncate(size)
        for start, block in data_blocks(file, offset, offset + size):
            os.pwrite(copy.fileno(), block, start - offset)


def write_all(source: Path, pipe: BinaryIO) -> None:
    """Write the whole file, holes as zeros: read through the page cache, they would cost the
    memory and the time of real data.

    Raises BrokenPipeError when nobody reads any more.
    """
    zeros = memoryview(bytes(BLOCK))
    position = 0

    def fill(until: int) -> None:
        for start in range(position, until, BLOCK):
            pipe.write(zeros[: min(BLOCK, until - start)])

    with source.open("rb") as file:
        for start, block in data_blocks(file):
            fill(start)
            pipe.write(block)
            position = start + len(block)
        fill(os.fstat(file.fileno()).st_size)
