"""Block maps: which parts of an image hold data, and the SHA-256 of each.

The format is bmaptool's, version 2.0 (its header comment and BmapCreate.py describe it): XML with
ImageSize and BlockSize in bytes, and ranges of block numbers, the last of each included. The file's
own checksum is that of its text with 64 zeros in the checksum's place.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from appliance.errors import HashMismatchError, ImageError

ALIGNMENT = 4096  # what O_DIRECT needs on every disk sold
MAX_BYTES = 16 * 1024 * 1024
NUMBERS = re.compile(r"\s*([0-9]{1,15})(?:\s*-\s*([0-9]{1,15}))?\s*")
HINT = "take image and block map from the same build, or leave the block map out (--no-bmap)"


@dataclass(frozen=True, kw_only=True)
class Range:
    """Bytes ``start`` to ``end`` of an image; ``end`` None is its end, which nobody knows yet."""

    start: int
    end: int | None
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class BlockMap:
    """``size`` in bytes; ranges in ascending order."""

    size: int
    ranges: tuple[Range, ...]

    @property
    def mapped(self) -> int:
        return sum((part.end or 0) - part.start for part in self.ranges)


def load_block_map(file: Path) -> BlockMap:
    """Raises ImageError, HashMismatchError."""
    raw = file.read_bytes() if file.stat().st_size <= MAX_BYTES else b""
    return parse_block_map(raw, name=file.name)


def parse_block_map(raw: bytes, *, name: str) -> BlockMap:
    if not raw or b"<!DOCTYPE" in raw:  # no document type: entities could grow without end
        raise ImageError(f"{name} is no block map", hint=HINT)
    try:
        root = ElementTree.fromstring(raw)
        version = root.get("version", "")
        fields = {item.tag: (item.text or "").strip() for item in root}
        size, block = int(fields["ImageSize"]), int(fields["BlockSize"])
        own, kind = fields["BmapFileChecksum"], fields["ChecksumType"]
        rows = [(item.text or "", item.get("chksum")) for item in root.iterfind("BlockMap/Range")]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ImageError(f"{name} is no block map: {error}", hint=HINT) from error
    if root.tag != "bmap" or version.partition(".")[0] != "2" or kind != "sha256":
        message = f"{name} is a block map of version {version or '?'} with {kind}, not 2 and sha256"
        raise ImageError(message, hint="make it with bmaptool 3")
    if hashlib.sha256(raw.replace(own.encode(), b"0" * 64)).hexdigest() != own:
        raise HashMismatchError(f"{name} is damaged: its own checksum is wrong", hint=HINT)
    return BlockMap(size=size, ranges=_ranges(rows, size, block, name))


def _ranges(
    rows: list[tuple[str, str | None]], size: int, block: int, name: str
) -> tuple[Range, ...]:
    if block <= 0 or block % ALIGNMENT or size <= 0 or size % ALIGNMENT:
        message = f"{name} is of an image of {size} bytes in blocks of {block}: that is no disk"
        raise ImageError(message, hint=HINT)
    found: list[Range] = []
    position = 0
    for text, digest in rows:
        numbers = NUMBERS.fullmatch(text)
        first, last = (int(numbers[1]), int(numbers[2] or numbers[1])) if numbers else (0, -1)
        start, end = first * block, min((last + 1) * block, size)
        if digest is None or not position <= start < end:
            message = f"{name} has a range {text.strip()!r} that is damaged or out of order"
            raise ImageError(message, hint=HINT)
        found.append(Range(start=start, end=end, sha256=digest))
        position = end
    if not found:
        raise ImageError(f"{name} lists nothing to write", hint=HINT)
    return tuple(found)
