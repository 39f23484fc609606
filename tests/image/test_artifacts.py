"""What is published beside the image agrees with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from image.conftest import Tool
from imagebuild.context import Context

pytestmark = pytest.mark.image


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beside(context: Context, suffix: str) -> Path:
    return context.build / f"{context.name}{suffix}"


@pytest.fixture(scope="module")
def manifest(context: Context) -> dict[str, object]:
    table: dict[str, object] = json.loads(beside(context, ".json").read_text())
    return table


def test_checksums_are_right(context: Context) -> None:
    rows = [line.split("  ") for line in beside(context, ".sha256").read_text().splitlines()]
    assert context.compressed_image.name in {name for _, name in rows}
    for expected, name in rows:
        assert sha256(context.build / name) == expected, name


def test_the_manifest_is_of_these_files(context: Context, manifest: dict[str, object]) -> None:
    artifacts = manifest["artifacts"]
    assert isinstance(artifacts, list)
    assert {row["kind"] for row in artifacts} >= {"image", "block map", "sbom"}
    for row in artifacts:
        path = context.build / row["file"]
        assert row["size"] == path.stat().st_size
        assert row["sha256"] == sha256(path)


def test_the_sbom_lists_what_the_manifest_lists(
    context: Context, manifest: dict[str, object]
) -> None:
    components = manifest["components"]
    assert isinstance(components, list)
    packages = json.loads(beside(context, ".spdx.json").read_text())["packages"]
    listed = {(package["name"], package["versionInfo"]) for package in packages}
    assert listed == {(part["name"], part["version"]) for part in components}
    assert len(components) > 250


def test_a_card_written_by_the_block_map_is_the_image(
    context: Context, in_tools: Tool, workshop: Path
) -> None:
    """bmaptool checks every range's hash while it decompresses, as a person's flashing would."""
    said = in_tools(
        'bmaptool copy --bmap "/srv/$1" "/srv/$2" /mnt/card 2>&1',
        beside(context, ".bmap").name,
        context.compressed_image.name,
    )
    assert "error" not in said.lower()
    card = workshop / "card"
    in_tools('cmp /mnt/card "/srv/$1"', context.raw_image.name)
    assert card.stat().st_size == context.raw_image.stat().st_size
    card.unlink()


def test_the_image_is_no_larger_than_promised(context: Context) -> None:
    assert context.compressed_image.stat().st_size <= 380e6


def test_no_half_written_file_is_left(context: Context) -> None:
    assert not list(context.build.glob("*.partial"))
