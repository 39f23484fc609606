"""Two builds with --locked give the same bytes: separate caches, another umask, another zone."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.layout import GIB
from imagebuild.context import Context

pytestmark = [pytest.mark.image, pytest.mark.long, pytest.mark.timeout(5400)]

# What is downloaded is checked by its hash; everything that is made is made twice.
DOWNLOADS = ("debs", "uv", "go-path")
RAM = Path("/dev/shm")
ROOM = 8 * GIB


def make_cache(context: Context, directory: Path) -> Path:
    directory.mkdir(parents=True)
    for name in DOWNLOADS:
        (context.cache / name).mkdir(exist_ok=True)
        (directory / name).symlink_to(context.cache / name)
    return directory


@pytest.fixture
def rooms(context: Context) -> Iterator[tuple[Path, Path]]:
    """Two places; the second one in memory where there is room, whose directories are in another
    order than those of a disk."""
    first = context.build / "reproducible"
    second = first
    if RAM.is_dir() and shutil.disk_usage(RAM).free > ROOM:
        second = RAM / f"hearth-reproducible-{os.getpid()}"
    shutil.rmtree(first, ignore_errors=True)
    yield first / "one", second / "two"
    shutil.rmtree(second, ignore_errors=True)
    shutil.rmtree(first, ignore_errors=True)


def build(output: Path, cache: Path, **environment: str) -> None:
    umask = environment.pop("UMASK", "022")
    result = subprocess.run(
        ["sh", "-ec", 'umask "$0"; exec "$@"', umask, sys.executable, "-m", "imagebuild", "build",
         "--locked", "--output", output],
        env={**os.environ, "HEARTH_CACHE": str(cache), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def artefacts(directory: Path) -> dict[str, str]:
    found = {}
    for path in sorted(directory.glob("hearth-*")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def test_two_builds_are_one(context: Context, rooms: tuple[Path, Path]) -> None:
    output = context.build / "reproducible"
    for name, cache, environment in (
        ("first", rooms[0], {}),
        ("second", rooms[1], {"UMASK": "077", "TZ": "Asia/Kathmandu", "LANG": "C"}),
    ):
        build(output / name, make_cache(context, cache), **environment)
    one, two = artefacts(output / "first"), artefacts(output / "second")
    assert {Path(name).suffix for name in one} >= {".img", ".bmap", ".json", ".sha256", ".key"}
    assert one.keys() == two.keys()
    assert not [name for name in one if one[name] != two[name]]
