"""Flashing a card with verification, against `xzcat | dd` without."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from appliance.errors import ImageError, PrivilegeError
from appliance.layout import GIB, MIB
from appliance.log import progress
from appliance.run import run
from benchmarks.table import Row, publish, stopwatch
from imagebuild.artifacts import make_block_map
from imagebuild.context import Context, make_context
from imagebuild.flash.source import unpacker
from imagebuild.imager import block_map_of
from imagebuild.recipe import make_recipe
from imagebuild.tools import ensure_tools
from imagebuild.vm import tool

PARTS = ("made", "real")
ROUNDS = 3
MADE = "hearth-made-arm64.img"
MADE_DATA = 300 * MIB
MADE_SIZE = 1536 * MIB  # as many holes as the real one has
CARD_SIZE = 16 * GIB


def measure(parts: tuple[str, ...]) -> None:
    if os.geteuid() != 0:
        raise PrivilegeError("loop devices need root", hint="sudo ci/bench flash")
    context = make_context(make_recipe("hearth"))
    ensure_tools(context)
    place = context.build / "bench" / "flash"
    place.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for part in parts:
        image = make_test_image(context, place) if part == "made" else pack_real(context, place)
        rows += compare(context, part, image, place)
    shutil.rmtree(place)
    publish("flash", rows, context.build / "bench")


def compare(context: Context, part: str, image: Path, place: Path) -> list[Row]:
    """By turns, so that whatever else the machine does falls on both."""
    plain: list[float] = []
    ours: list[float] = []
    for turn in range(1, ROUNDS + 1):
        with progress(f"{part}, round {turn}: xzcat | dd"), fresh_card(place) as card:
            plain.append(by_dd(context, image, card))
        with progress(f"{part}, round {turn}: hearth flash"), fresh_card(place) as card:
            ours.append(by_flash(image, card))
    title = f"{part} image, {image.stat().st_size / 1e6:.0f} MB of xz"
    return [
        Row(figure=f"{title}: xzcat -T1 | dd, synced", value=median(plain), unit="s"),
        Row(figure=f"{title}: hearth flash, verified", value=median(ours), unit="s"),
        Row(figure=f"{title}: hearth flash against dd", value=median(ours) / median(plain),
            unit="x", must=0.8, aim=0.5),
    ]  # fmt: skip


def by_dd(context: Context, image: Path, card: Path) -> float:
    """As forums advise, with the same xz that we use."""
    xz = [*unpacker(image, context.tools), "--threads=1"]
    script = '"${@:3}" < "$1" | dd of="$2" bs=4M conv=fsync status=none'
    with stopwatch() as watch:
        run(["bash", "-eo", "pipefail", "-c", script, "bash", image, card, *xz])
    return watch.seconds


def by_flash(image: Path, card: Path) -> float:
    """The whole command, its start included."""
    argv = [sys.executable, "-m", "imagebuild", "flash", image, "--disk", card]
    path = ":".join(sys.path)
    with stopwatch() as watch:
        said = run(argv, input=f"{card.name}\n", env={"PYTHONPATH": path})
    sys.stderr.write(said.stderr)
    return watch.seconds


@contextmanager
def fresh_card(place: Path) -> Iterator[Path]:
    """A loop device that does not keep its content in memory a second time."""
    backing = place / "card"
    backing.unlink(missing_ok=True)
    backing.touch()
    os.truncate(backing, CARD_SIZE)
    argv = ["losetup", "--find", "--show", "--direct-io=on", backing]
    loop = Path(run(argv).stdout.strip())
    try:
        yield loop
    finally:
        run(["losetup", "--detach", loop])
        backing.unlink()


def make_test_image(context: Context, place: Path) -> Path:
    """What lies under /usr/lib, which packs as a system does, among holes."""
    image = place / MADE
    files = sorted(path for path in Path("/usr/lib").rglob("*")
                   if path.is_file() and not path.is_symlink())  # fmt: skip
    random.Random(1).shuffle(files)
    with image.open("wb") as target:
        target.truncate(MADE_SIZE)
        target.seek(8 * MIB)
        for file in files:
            target.write(file.read_bytes())
            if target.tell() > MADE_DATA:
                break
        target.truncate(MADE_SIZE)
    return pack(context, image, 2)


def pack_real(context: Context, place: Path) -> Path:
    if not context.raw_image.exists():
        raise ImageError("nothing was built yet", hint="build it first: sudo image/build")
    image = place / context.raw_image.name
    run(["cp", "--sparse=always", "--reflink=auto", context.raw_image, image])
    return pack(context, image, 6)  # image/build's


def pack(context: Context, image: Path, level: int) -> Path:
    """In blocks (of three times the level's dictionary), as `image/build --compress xz` does it."""
    with progress(f"Packing {image.name}"):
        make_block_map(context, image)
        run([*tool(context.tools, "xz"), "--threads=0", f"-{level}", "--force", image])
    packed = image.with_name(f"{image.name}.xz")
    assert block_map_of(packed).exists()
    return packed
