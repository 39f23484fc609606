"""Small images with block maps, as `hearth build` leaves them, and cards that misbehave."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from appliance.layout import MIB
from appliance.run import run
from imagebuild.flash.card import Card

BLOCK = 4096
SIZE = 7 * MIB
# Blocks that hold data: the table, a slot state, a stretch of several pieces, and an end.
MAPPED = ((0, 0), (256, 256), (300, 301), (320, 1500), (1510, 1520))
BMAP = """\
<?xml version="1.0" ?>
<bmap version="2.0">
    <ImageSize> {size} </ImageSize>
    <BlockSize> 4096 </BlockSize>
    <BlocksCount> {blocks} </BlocksCount>
    <MappedBlocksCount> {mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <BmapFileChecksum> {checksum} </BmapFileChecksum>
    <BlockMap>
{ranges}
    </BlockMap>
</bmap>
"""


def make_content(mapped: Sequence[tuple[int, int]] = MAPPED, size: int = SIZE) -> bytes:
    """Each mapped block another one (and quickly packed), zeros elsewhere."""
    content = bytearray(size)
    for first, last in mapped:
        for block in range(first, last + 1):
            content[block * BLOCK : (block + 1) * BLOCK] = os.urandom(16) * (BLOCK // 16)
    return bytes(content)


def render_bmap(content: bytes, mapped: Sequence[tuple[int, int]] = MAPPED) -> str:
    """As bmaptool writes it."""
    lines = []
    for first, last in mapped:
        digest = hashlib.sha256(content[first * BLOCK : (last + 1) * BLOCK]).hexdigest()
        numbers = f"{first}" if first == last else f"{first}-{last}"
        lines.append(f'        <Range chksum="{digest}"> {numbers} </Range>')
    return seal_bmap(
        BMAP.format(
            size=len(content),
            blocks=len(content) // BLOCK,
            mapped=sum(last + 1 - first for first, last in mapped),
            checksum="0" * 64,
            ranges="\n".join(lines),
        )
    )


def seal_bmap(text: str) -> str:
    """With the checksum of its own text, which holds zeros in that place."""
    return text.replace("0" * 64, hashlib.sha256(text.encode()).hexdigest(), 1)


def make_image(directory: Path, content: bytes, *, packed: str = "", bmap: bool = True) -> Path:
    """``packed``: "", xz or zst."""
    image = directory / "hearth-1.2.3-arm64.img"
    image.write_bytes(content)
    if bmap:
        (directory / "hearth-1.2.3-arm64.bmap").write_text(render_bmap(content))
    match packed:
        case "xz":
            run(["xz", "-0", "--block-size=1MiB", "--threads=1", image])
        case "zst":
            run(["zstd", "-q", "-1", "--rm", image])
        case _:
            return image
    return image.with_name(f"{image.name}.{packed}")


class WrappingCard(Card):
    """Says ``size``, but its addresses begin again after ``real`` bytes."""

    real = 0

    def write(self, view: memoryview, offset: int) -> None:
        super().write(view, offset % self.real)

    def read(self, view: memoryview, offset: int) -> None:
        super().read(view, offset % self.real)


class DroppingCard(Card):
    """Takes everything, and keeps only what lies below ``real``."""

    real = 0

    def write(self, view: memoryview, offset: int) -> None:
        if offset < self.real:
            super().write(view, offset)


class FailingCard(Card):
    """Fails with an error of the kernel's from the ``after``-th write on."""

    after = 0
    number = errno.EIO

    def write(self, view: memoryview, offset: int) -> None:
        self.after -= 1
        if self.after < 0:
            with self._explained("be written"):
                raise OSError(self.number, os.strerror(self.number))
        super().write(view, offset)


class RottingCard(Card):
    """One bit of what is read at ``place`` is wrong."""

    place = 0

    def read(self, view: memoryview, offset: int) -> None:
        super().read(view, offset)
        if offset <= self.place < offset + len(view):
            view[self.place - offset] ^= 1
