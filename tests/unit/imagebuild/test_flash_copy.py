"""Writing and reading back, on cards that keep what they are given and on others.

The cards are files; the ones that misbehave do so as the real ones do, one level above the file.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import TypeVar

import pytest

from appliance.errors import (
    DiskError,
    DiskFaultError,
    DiskGoneError,
    HashMismatchError,
    ImageError,
)
from appliance.layout import DATA, GIB, MIB
from imagebuild.flash.capacity import check_capacity, holds_data, places
from imagebuild.flash.card import Card, make_buffer, open_card
from imagebuild.flash.copy import HEAD, blank, seal, verify, write_image
from imagebuild.flash.flash import _flash
from imagebuild.flash.source import load_source, open_stream
from unit.imagebuild.flashing import (
    BLOCK,
    MAPPED,
    SIZE,
    DroppingCard,
    FailingCard,
    RottingCard,
    WrappingCard,
    make_content,
    make_image,
    render_bmap,
)

CONTENT = make_content()
NO_TOOLS = Path("/nonexistent")
OLD = b"\xff"  # what an earlier use has left

C = TypeVar("C", bound=Card)


def make_card(path: Path, size: int = 4 * SIZE, kind: type[C] = Card) -> C:  # type: ignore[assignment]
    """A file with old content where the image comes to lie."""
    path.write_bytes(OLD * min(size, 2 * SIZE))
    os.truncate(path, size)
    return kind(path, os.open(path, os.O_RDWR), direct=False)


def copy(card: Card, image: Path, *, use_map: bool = True) -> int:
    """All of it; returns the bytes that were told as done."""
    told: list[int] = []
    source = load_source(image, use_map=use_map)
    blank(card)
    with open_stream(source, NO_TOOLS) as stream:
        written = write_image(card, source, stream, told.append)
    assert card.path.read_bytes()[:HEAD] == bytes(HEAD)  # nothing starts before it is checked
    verify(card, written, told.append)
    seal(card, written)
    return sum(told)


@pytest.mark.parametrize("packed", ["", "xz", "zst"])
def test_only_mapped_blocks_are_written(tmp_path: Path, packed: str) -> None:
    image = make_image(tmp_path, CONTENT, packed=packed)
    told = copy(make_card(tmp_path / "card"), image)
    found = (tmp_path / "card").read_bytes()
    mapped = {block for first, last in MAPPED for block in range(first, last + 1)}
    for block in range(SIZE // BLOCK):
        part = slice(block * BLOCK, (block + 1) * BLOCK)
        if block in mapped or part.stop <= HEAD:
            assert found[part] == CONTENT[part], block
        else:
            assert found[part] == OLD * BLOCK, block
    assert told == 2 * sum(last + 1 - first for first, last in MAPPED if first >= 256) * BLOCK


@pytest.mark.parametrize("packed", ["", "xz"])
def test_without_a_block_map_everything_is_written(tmp_path: Path, packed: str) -> None:
    image = make_image(tmp_path, CONTENT, packed=packed)
    told = copy(make_card(tmp_path / "card"), image, use_map=False)
    assert (tmp_path / "card").read_bytes()[:SIZE] == CONTENT
    assert told == 2 * (SIZE - HEAD)


def test_open_card_reads_past_the_page_cache(tmp_path: Path) -> None:
    (tmp_path / "card").write_bytes(bytes(SIZE))
    with open_card(tmp_path / "card") as card:
        copy_view = make_buffer(BLOCK)
        copy_view[:] = CONTENT[:BLOCK]
        card.write(copy_view, BLOCK)
        card.sync()
        again = make_buffer(BLOCK)
        card.read(again, BLOCK)
        assert again == copy_view


def test_an_image_that_is_not_its_block_maps(tmp_path: Path) -> None:
    other = bytearray(CONTENT)
    other[1515 * BLOCK] ^= 1
    image = make_image(tmp_path, bytes(other), packed="xz")
    image.with_name("hearth-1.2.3-arm64.bmap").write_text(render_bmap(CONTENT))
    with pytest.raises(HashMismatchError, match="is not the image that"):
        copy(make_card(tmp_path / "card"), image)
    assert (tmp_path / "card").read_bytes()[:HEAD] == bytes(HEAD)


@pytest.mark.parametrize("use_map", [True, False])
def test_an_image_that_ends_early(tmp_path: Path, use_map: bool) -> None:
    image = make_image(tmp_path, CONTENT, packed="xz")
    image.write_bytes(image.read_bytes()[:-2000])
    with pytest.raises(ImageError, match="is damaged"):
        copy(make_card(tmp_path / "card"), image, use_map=use_map)
    assert (tmp_path / "card").read_bytes()[:HEAD] == bytes(HEAD)


def test_a_card_smaller_than_an_image_of_unknown_size(tmp_path: Path) -> None:
    image = make_image(tmp_path, CONTENT, packed="xz", bmap=False)
    with pytest.raises(DiskError, match="smaller than the image"):
        copy(make_card(tmp_path / "card", size=5 * MIB), image)


@pytest.mark.parametrize("block", [0, 256, 700, 1500, 1515])
def test_a_wrong_bit_is_found_where_it_is(tmp_path: Path, block: int) -> None:
    card = make_card(tmp_path / "card", kind=RottingCard)
    card.place = block * BLOCK + 17
    with pytest.raises(DiskFaultError, match="does not keep what is written") as caught:
        copy(card, make_image(tmp_path, CONTENT))
    assert "another card" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EIO, DiskFaultError, "could not be written"),
        (errno.EROFS, DiskFaultError, "write-protected"),
        (errno.ENOSPC, DiskFaultError, "it ends there"),
        (errno.ENODEV, DiskGoneError, "pulled out"),
        (errno.ENXIO, DiskGoneError, "pulled out"),
        (errno.ENOMEDIUM, DiskGoneError, "pulled out"),
    ],
)
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_write_that_fails(
    tmp_path: Path, number: int, kind: type[Exception], words: str, after: int
) -> None:
    card = make_card(tmp_path / "card", kind=FailingCard)
    card.after, card.number = after, number
    with pytest.raises(kind, match=words):
        copy(card, make_image(tmp_path, CONTENT))


def test_an_input_error_of_a_card_that_has_gone(tmp_path: Path) -> None:
    card = make_card(tmp_path / "card", kind=FailingCard)
    (tmp_path / "card").unlink()
    with pytest.raises(DiskGoneError):
        blank(card)


def large_card(tmp_path: Path, size: int, kind: type[C]) -> C:
    path = tmp_path / "card"
    with path.open("wb") as file:
        file.truncate(size)
    return kind(path, os.open(path, os.O_RDWR), direct=False)


@pytest.mark.parametrize("size", [16 * 10**9, 31_914_983_424, 64 * GIB, 128 * 10**9 // 512 * 512])
def test_an_honest_card(tmp_path: Path, size: int) -> None:
    check_capacity(large_card(tmp_path, size, Card))
    assert max(places(size)) == size // 4096 * 4096 - 4096


@pytest.mark.parametrize("real", [4 * GIB, 8 * GIB, 16 * GIB, 32 * GIB])
def test_a_card_that_wraps_around(tmp_path: Path, real: int) -> None:
    card = large_card(tmp_path, 64 * 10**9, WrappingCard)
    card.real = real
    with pytest.raises(DiskFaultError, match=r"says that it holds 64\.0 GB") as caught:
        check_capacity(card)
    assert "fake" in (caught.value.hint or "")


@pytest.mark.parametrize("real", [2 * GIB, 7_400_000_000, 31 * GIB, 63_900_000_000])
def test_a_card_that_drops_what_is_too_much(tmp_path: Path, real: int) -> None:
    card = large_card(tmp_path, 64 * 10**9, DroppingCard)
    card.real = real
    with pytest.raises(DiskFaultError, match=r"says that it holds 64\.0 GB"):
        check_capacity(card)


def test_a_worn_out_card_that_drops_everything(tmp_path: Path) -> None:
    with pytest.raises(DiskFaultError, match=r"does not keep what is written: at 0\.00 GB"):
        check_capacity(large_card(tmp_path, 16 * 10**9, DroppingCard))


def test_an_earlier_hearths_data_is_recognised(tmp_path: Path) -> None:
    card = large_card(tmp_path, 15 * GIB, Card)
    assert not holds_data(card)
    with card.path.open("r+b") as file:
        file.seek(DATA.start + 1024 + 0x38)
        file.write(b"\x53\xef")
        file.seek(DATA.start + 1024 + 0x78)
        file.write(DATA.label.encode())
    assert holds_data(card)


def test_an_old_system_starts_no_more_once_anything_was_written(tmp_path: Path) -> None:
    """A card that fails its check, or is pulled in it, must not start what marks were put into."""
    card = large_card(tmp_path, 64 * 10**9, DroppingCard)
    card.real = 31 * GIB
    with card.path.open("r+b") as file:
        file.write(bytes(510) + b"\x55\xaa")
    source = load_source(make_image(tmp_path, CONTENT))
    with pytest.raises(DiskFaultError, match="says that it holds"):
        _flash(card, source, tmp_path, None, threading.Event())
    with card.path.open("rb") as file:
        assert file.read(512) == bytes(512)
