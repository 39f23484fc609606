"""What is to be written: an image, packed or not, with its block map and checksums beside it.

Unpacking runs in a process of its own, so on another core; xz uses several for an image that was
packed in blocks, as `hearth build` does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from appliance.errors import HashMismatchError, ImageError, MissingToolError
from appliance.layout import MIB
from appliance.run import Process, end, find_tool, spawn
from imagebuild.flash.blockmap import ALIGNMENT, BlockMap, Range, load_block_map
from imagebuild.imager import block_map_of
from imagebuild.vm import tool

PIPE_SIZE = MIB  # fcntl(2), F_SETPIPE_SZ: what a user may have without asking
UNPACKERS = {
    ".xz": ("xz", ("--decompress", "--stdout", "--threads=0"), "xz-utils"),
    ".zst": ("zstd", ("--decompress", "--stdout", "--quiet"), "zstd"),
}
SUFFIXES = (".img", *UNPACKERS)


@dataclass(frozen=True, kw_only=True)
class Source:
    """An image file; ``size`` is that of what is in it, None where only unpacking tells."""

    image: Path
    ranges: tuple[Range, ...]
    size: int | None
    block_map: Path | None

    @property
    def to_write(self) -> int | None:
        if self.block_map is None:
            return self.size
        return sum((part.end or 0) - part.start for part in self.ranges)


def load_source(image: Path, *, block_map: Path | None = None, use_map: bool = True) -> Source:
    """Raises ImageError, HashMismatchError: before anything is written."""
    if not image.is_file():
        raise ImageError(f"{image} is not there", hint="build it first: sudo image/build")
    if image.suffix not in SUFFIXES:
        message = f"{image} is no .img, .img.xz or .img.zst"
        raise ImageError(message, hint="give an image that `hearth build` has made")
    file = block_map or block_map_of(image)
    if block_map is not None and not file.is_file():
        raise ImageError(f"{file} is not there", hint="leave --bmap out to write everything")
    size = image.stat().st_size if image.suffix == ".img" else None
    if size is not None and (size == 0 or size % ALIGNMENT):
        raise ImageError(f"{image} is cut short: {size} bytes", hint="build or download it again")
    sums = block_map_of(image).with_suffix(".sha256")
    if use_map and file.is_file():
        _check_sum(file, sums)
        found = load_block_map(file)
        _check_size(image, size, file, found)
        return Source(image=image, ranges=found.ranges, size=found.size, block_map=file)
    _check_sum(image, sums)
    whole = Range(start=0, end=size, sha256=None)
    return Source(image=image, ranges=(whole,), size=size, block_map=None)


def _check_size(image: Path, size: int | None, file: Path, found: BlockMap) -> None:
    if size is not None and size != found.size:
        message = f"{image.name} has {size} bytes and {file.name} is of one with {found.size}"
        raise HashMismatchError(message, hint="take image and block map from the same build")


def _check_sum(file: Path, sums: Path) -> None:
    """By the build's ``NAME.sha256``, where there is one that lists this file."""
    if not sums.is_file():
        return
    lines = (line.partition("  ") for line in sums.read_text(errors="replace").splitlines())
    listed = {name: digest for digest, _, name in lines}
    if file.name not in listed:
        return
    with file.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != listed[file.name]:
            message = f"{file.name} is not the file that {sums.name} lists"
            hint = "build or download it again, with all files from the same place"
            raise HashMismatchError(message, hint=hint)


class Stream:
    """The image's bytes in order; ``done`` is the part of the image file that was read."""

    def __init__(self, image: Path, packed: int, plain: int) -> None:
        self._image = image
        self._packed = packed
        self._plain = plain
        self._total = os.fstat(packed).st_size

    @property
    def done(self) -> float:
        # The unpacker shares the open file, and so its position (dup(2)).
        return os.lseek(self._packed, 0, os.SEEK_CUR) / max(1, self._total)

    def fill(self, view: memoryview) -> int:
        """Read until ``view`` is full or the image ends; returns the bytes read."""
        count = 0
        while count < len(view) and (got := os.readv(self._plain, [view[count:]])):
            count += got
        return count

    def skip(self, count: int) -> None:
        """Pass over what no range maps. Raises ImageError where the image ends."""
        if self._plain == self._packed:
            os.lseek(self._plain, count, os.SEEK_CUR)
            return
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
            while count:
                gone = os.splice(self._plain, nowhere.fileno(), count)
                if not gone:
                    raise ends_early(self._image)
                count -= gone


def ends_early(image: Path) -> ImageError:
    message = f"{image.name} is cut short, or is not the image of its block map"
    return ImageError(message, hint="build or download both again")


@contextmanager
def open_stream(source: Source, tools: Path) -> Iterator[Stream]:
    """Raises MissingToolError; ImageError where the image cannot be unpacked."""
    with source.image.open("rb") as file:
        packed = file.fileno()
        if source.image.suffix == ".img":
            yield Stream(source.image, packed, packed)
            return
        with (
            tempfile.TemporaryFile("w+") as errors,
            _unpacking(source.image, packed, tools, errors) as (process, plain),
        ):
            try:
                yield Stream(source.image, packed, plain)
            except ImageError:
                _check_process(source.image, process, errors)
                raise
            if source.block_map is None:
                _check_process(source.image, process, errors)


@contextmanager
def _unpacking(
    image: Path, packed: int, tools: Path, errors: IO[str]
) -> Iterator[tuple[Process, int]]:
    read_end, write_end = os.pipe()
    try:
        with suppress(OSError):  # a smaller pipe is only slower
            fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        try:
            argv = unpacker(image, tools)
            process = spawn(argv, input=packed, output=write_end, errors=errors)
        finally:
            os.close(write_end)
        try:
            yield process, read_end
        finally:
            end(process)
    finally:
        os.close(read_end)


def unpacker(image: Path, tools: Path) -> list[str]:
    """What unpacks an image from its standard input to its standard output."""
    name, options, package = UNPACKERS[image.suffix]
    return [*_program(name, package, tools), *options]


def _program(name: str, package: str, tools: Path) -> list[str]:
    """The tools tree's, which is newer and quicker than many a host's, or the host's."""
    try:
        return tool(tools, name)
    except MissingToolError:
        if find_tool(name) is None:
            message = f"program {name!r}, which unpacks the image, is not installed"
            raise MissingToolError(message, hint=f"apt-get install {package}") from None
        return [name]


def _check_process(image: Path, process: Process, errors: IO[str]) -> None:
    """What the unpacker says when it has come to the end, or to where the file is damaged."""
    if process.wait() == 0:
        return
    errors.seek(0)
    lines = errors.read().strip().splitlines()
    message = f"{image.name} is damaged: {lines[-1] if lines else 'it cannot be unpacked'}"
    raise ImageError(message, hint="build or download it again")
