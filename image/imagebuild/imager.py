"""The list that Raspberry Pi Imager shows (its doc/json-schema/os-list-schema.json).

Imager 2 offers no customisation for an image from a file, and people like a list better than a
file: `rpi-imager --repo URL` shows this one. There are two of them, since an Imager shows no entry
whose way of handing over a person's settings it does not know: "rpi-preseed" came with 2.0.11,
"cloudinit" is older. The device reads both (firstboot.imager).
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from appliance.atomic import write_atomic
from appliance.errors import ConfigError, ImageError
from appliance.release import Index, ReleaseFacts
from appliance.run import DEVNULL, PIPE, spawn
from imagebuild.indexes import parse_version
from imagebuild.site import ICON, SAFE_NAME, Site

ENTRY = "imager.json"
LISTS = {"rpi-imager.json": "rpi-preseed", "rpi-imager-cloudinit.json": "cloudinit"}
CHUNK = 1 << 20
# Imager's own words for the boards (those of its official list and of others').
TAGS = {
    "rpi3": "pi3-64bit",
    "rpi3plus": "pi3-64bit",
    "rpi-zero2w": "pi3-64bit",
    "rpi4": "pi4-64bit",
    "rpi400": "pi4-64bit",
    "rpi-cm4": "pi4-64bit",
    "rpi5": "pi5-64bit",
    "rpi5-d0": "pi5-64bit",
}
DESCRIPTION = "A private Matrix homeserver that looks after itself"


def make_entry(site: Site, facts: ReleaseFacts, image: Path, now: float) -> dict[str, Any]:
    """One release in the list; ``image`` is the compressed one. Raises ImageError, ConfigError."""
    if not SAFE_NAME.fullmatch(image.name) or facts.version not in image.name:
        message = f"{image.name} is not called as the image of {facts.version} is"
        raise ConfigError(message, hint="give the image of the same build")
    size, digest = measure(image)
    if not set(facts.boards) <= set(TAGS):
        unknown = ", ".join(sorted(set(facts.boards) - set(TAGS)))
        raise ConfigError(f"no word of Raspberry Pi Imager is known for the boards {unknown}")
    entry = {
        "name": f"Hearth {facts.version}",
        "description": DESCRIPTION,
        "icon": f"{site.url}/{ICON}",
        "url": site.release_url(facts.version, image.name),
        "extract_size": size,
        "extract_sha256": digest,
        "image_download_size": image.stat().st_size,
        "image_download_sha256": _digest(image),
        "release_date": f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}",
        "devices": sorted({TAGS[name] for name in facts.boards or TAGS}),
        "architecture": "armv8",
    }
    block_map = block_map_of(image)
    if block_map.exists():
        entry["bmap_url"] = site.release_url(facts.version, block_map.name)
    return entry


def block_map_of(image: Path) -> Path:
    """hearth-1.0-arm64.bmap lies beside hearth-1.0-arm64.img.zst."""
    return image.with_name(image.name.partition(".img")[0] + ".bmap")


def write_entry(site: Site, version: str, entry: dict[str, Any]) -> None:
    """Kept beside the image: measuring it takes a while."""
    write_atomic(site.release_directory(version) / ENTRY, json.dumps(entry, indent=1) + "\n")


def write_lists(site: Site, index: Index) -> None:
    for name, init_format in LISTS.items():
        write_atomic(site.imager_file(index.channel, name), render_list(site, index, init_format))


def render_list(site: Site, index: Index, init_format: str) -> str:
    """The newest release that has an image and is not held back."""
    ordered = sorted(index.releases, key=lambda one: parse_version(one.facts.version), reverse=True)
    entries = [
        {**json.loads(file.read_text()), "init_format": init_format}
        for release in ordered
        if not release.rollout.paused
        and (file := site.release_directory(release.facts.version) / ENTRY).exists()
    ]
    return json.dumps({"os_list": entries[:1]}, indent=1) + "\n"


def measure(image: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of what is in it. Raises ImageError."""
    digest, size = hashlib.sha256(), 0
    with _unpacked(image) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


@contextmanager
def _unpacked(image: Path) -> Iterator[BinaryIO]:
    match image.suffix:
        case ".zst":
            process = spawn(["zstd", "-dc", "--", image], output=PIPE, errors=DEVNULL)
            assert process.stdout is not None
            try:
                with process.stdout, open(process.stdout.fileno(), "rb", closefd=False) as stream:
                    yield stream
            finally:
                process.wait()
            if process.returncode != 0:
                raise ImageError(f"{image} is damaged", hint="build it again")
        case ".xz":
            try:
                with lzma.open(image) as unpacked:
                    yield cast("BinaryIO", unpacked)
            except (lzma.LZMAError, EOFError) as error:
                raise ImageError(f"{image} is damaged: {error}", hint="build it again") from error
        case _:
            message = f"{image} is no .img.zst or .img.xz"
            raise ImageError(message, hint="give the compressed image of the build")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
