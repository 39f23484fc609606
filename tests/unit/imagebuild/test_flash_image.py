"""What `hearth flash` believes about an image before and while it is written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from appliance.errors import HashMismatchError, HearthError, ImageError
from imagebuild.flash.blockmap import parse_block_map
from imagebuild.flash.source import ends_early, load_source, open_stream
from unit.imagebuild.flashing import (
    BLOCK,
    MAPPED,
    SIZE,
    make_content,
    make_image,
    render_bmap,
    seal_bmap,
)

CONTENT = make_content()
NO_TOOLS = Path("/nonexistent")


def parse(text: str) -> None:
    parse_block_map(text.encode(), name="x.bmap")


def test_a_block_map_is_read() -> None:
    found = parse_block_map(render_bmap(CONTENT).encode(), name="x.bmap")
    assert found.size == SIZE
    assert [(part.start, part.end) for part in found.ranges] == [
        (first * BLOCK, (last + 1) * BLOCK) for first, last in MAPPED
    ]
    for part in found.ranges:
        assert hashlib.sha256(CONTENT[part.start : part.end]).hexdigest() == part.sha256


def test_a_changed_block_map_is_noticed() -> None:
    text = render_bmap(CONTENT).replace("320-1500", "320-1499")
    with pytest.raises(HashMismatchError, match="its own checksum"):
        parse(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("320-1500", "320-300"),
        ("320-1500", "0-1500"),
        ("320-1500", "-4-1500"),
        ("320-1500", "9" * 400),
        ("320-1500", "320-"),
        ("> 256 <", "> two <"),
        ("> 1510-1520 <", "> 99999-100000 <"),
        ("<BlockSize> 4096", "<BlockSize> 0"),
        ("<BlockSize> 4096", "<BlockSize> 512"),
        (f"> {SIZE} <", "> -1 <"),
        (f"> {SIZE} <", "> 12345678 <"),
        ('version="2.0"', 'version="3.0"'),
        ("> sha256 <", "> crc32 <"),
        ("<ChecksumType> sha256 </ChecksumType>", ""),
        ("</bmap>", ""),
        ("<bmap ", "<!DOCTYPE bmap><bmap "),
        ("chksum", "checksum"),
    ],
)
def test_a_block_map_that_makes_no_sense(old: str, new: str) -> None:
    sealed = render_bmap(CONTENT)
    digest = sealed.partition("<BmapFileChecksum> ")[2][:64]
    text = sealed.replace(digest, "0" * 64)
    assert old in text
    with pytest.raises(ImageError) as caught:
        parse(seal_bmap(text.replace(old, new)))
    assert caught.value.hint


def test_a_block_map_without_ranges() -> None:
    with pytest.raises(ImageError, match="nothing to write"):
        parse(render_bmap(CONTENT, ()))


@pytest.mark.parametrize("raw", [b"", b"\0" * 100, b"<html></html>", "ä".encode("latin-1")])
def test_no_block_map_at_all(raw: bytes) -> None:
    with pytest.raises(ImageError, match="no block map"):
        parse_block_map(raw, name="x.bmap")


@pytest.mark.parametrize("packed", ["", "xz", "zst"])
def test_an_image_is_unpacked(tmp_path: Path, packed: str) -> None:
    source = load_source(make_image(tmp_path, CONTENT, packed=packed), use_map=False)
    view = memoryview(bytearray(SIZE + BLOCK))
    with open_stream(source, NO_TOOLS) as stream:
        stream.skip(BLOCK)
        assert stream.fill(view) == SIZE - BLOCK
        assert stream.done == 1.0
    assert view[: SIZE - BLOCK] == CONTENT[BLOCK:]


@pytest.mark.parametrize("packed", ["xz", "zst"])
@pytest.mark.parametrize("bmap", [True, False])
def test_a_damaged_image_is_named(tmp_path: Path, packed: str, bmap: bool) -> None:
    image = make_image(tmp_path, CONTENT, packed=packed, bmap=bmap)
    image.write_bytes(image.read_bytes()[:-2000])
    source = load_source(image)

    def unpack() -> None:
        with open_stream(source, NO_TOOLS) as stream:
            if stream.fill(memoryview(bytearray(SIZE))) < SIZE and bmap:
                raise ends_early(image)

    with pytest.raises(ImageError) as caught:
        unpack()
    assert caught.value.message.startswith(f"{image.name} is damaged: ")


def check_refused(image: Path, kind: type[HearthError], words: str, **options: Path) -> None:
    with pytest.raises(kind, match=words) as caught:
        load_source(image, block_map=options.get("block_map"))
    assert caught.value.hint


def test_what_is_no_image(tmp_path: Path) -> None:
    check_refused(tmp_path / "absent.img", ImageError, "not there")
    (tmp_path / "photo.jpg").write_bytes(b"x")
    check_refused(tmp_path / "photo.jpg", ImageError, "no .img")
    (tmp_path / "empty.img").write_bytes(b"")
    check_refused(tmp_path / "empty.img", ImageError, "cut short")
    (tmp_path / "odd.img").write_bytes(bytes(5000))
    check_refused(tmp_path / "odd.img", ImageError, "cut short")
    image = make_image(tmp_path, CONTENT, bmap=False)
    check_refused(image, ImageError, "not there", block_map=tmp_path / "absent.bmap")


def test_a_block_map_of_another_image(tmp_path: Path) -> None:
    image = make_image(tmp_path, CONTENT)
    image.write_bytes(CONTENT + bytes(BLOCK))
    check_refused(image, HashMismatchError, "bytes and")


def test_a_file_that_the_checksums_do_not_know(tmp_path: Path) -> None:
    image = make_image(tmp_path, CONTENT, packed="zst")
    bmap = image.with_name("hearth-1.2.3-arm64.bmap")
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (image, bmap)}
    sums = image.with_name("hearth-1.2.3-arm64.sha256")
    sums.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))
    assert load_source(image).block_map == bmap
    assert load_source(image, use_map=False).block_map is None
    # Another build's block map, itself whole: only the list can tell.
    bmap.write_text(render_bmap(make_content()))
    check_refused(image, HashMismatchError, "not the file that")
    bmap.unlink()
    assert load_source(image).size is None
    image.write_bytes(image.read_bytes()[:-1])
    check_refused(image, HashMismatchError, "not the file that")
