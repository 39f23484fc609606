"""How much an update downloads, of real bundles of real builds."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.layout import SLOT_A
from appliance.log import progress
from appliance.run import run
from benchmarks.adaptive import install
from benchmarks.build import EDITED, copy_source, index_environment
from benchmarks.check import check_rows
from benchmarks.remote import BLOCK, serve
from benchmarks.table import Row, publish
from imagebuild import packages as archive
from imagebuild.bundle import file_system_size
from imagebuild.context import Context, make_context
from imagebuild.host import check_host
from imagebuild.packages import Package, PackageSet, load_lock, save_lock
from imagebuild.recipe import SOURCE, make_recipe
from imagebuild.sparse import copy_part
from imagebuild.tools import ensure_tools

PARTS = ("check", "small", "month")
CACHED = ("debs", "uv", "go-path", "go-build")
PYTHON_PACKAGE = "setup-ui/setup_ui"
LOCK, WHEELS = "image/hearth.lock", "image/profiles/synapse.lock"


@dataclass(frozen=True, kw_only=True)
class Built:
    """One version's slot, as it lies on a card, and its bundle."""

    slot: Path
    bundle: Path


def measure(parts: tuple[str, ...]) -> None:
    context = make_context(make_recipe("hearth"))
    rows: list[Row] = []
    if "check" in parts:
        with tempfile.TemporaryDirectory(prefix="hearth-bench-") as name:
            rows += check_rows(Path(name))
    if not {"small", "month"} & set(parts):
        publish("update", rows, context.build / "bench")
        return
    check_host(context.build)
    ensure_tools(context)
    with workshop(context) as (place, source, cache):
        if "month" in parts:
            make_old(context, source)
            old = build(place, source, cache, "0.1.1", bundle=False)
            for name in (LOCK, WHEELS):
                shutil.copyfile(SOURCE / name, source / name)
        base = build(place, source, cache, "0.1.2", bundle="month" in parts)
        if "month" in parts:
            rows += month_rows(place, cache, old, base)
        if "small" in parts:
            change_little(source)
            rows += small_rows(place, base, build(place, source, cache, "0.1.3"))
    publish("update", rows, context.build / "bench")


@contextmanager
def workshop(context: Context) -> Iterator[tuple[Path, Path, Path]]:
    """A copy of the source, and a cache that may be spoiled: layers are links to the real one's."""
    place = context.cache / "bench-update"
    shutil.rmtree(place, ignore_errors=True)
    source, cache = place / "source", place / "cache"
    cache.mkdir(parents=True)
    copy_source(source)
    for name in CACHED:
        (context.cache / name).mkdir(exist_ok=True)
        (cache / name).symlink_to(context.cache / name)
    run(["cp", "-al", context.layers, cache / "layers"])
    try:
        yield place, source, cache
    finally:
        shutil.rmtree(place, ignore_errors=True)


def build(place: Path, source: Path, cache: Path, version: str, *, bundle: bool = True) -> Built:
    """`hearth build --locked`, the slot, and `hearth bundle`."""
    hearth(source, cache, "build", "--locked", "--version", version)
    image = source / f"build/hearth-{version}-dev-arm64.img"
    slot = place / f"{version}.slot"
    copy_part(image, SLOT_A.start, file_system_size(image, SLOT_A.start), slot)
    target = place / f"{version}.raucb"
    if bundle:
        hearth(source, cache, "bundle", os.fspath(image), "--output", os.fspath(target))
    for path in (source / "build").glob(f"hearth-{version}-*"):
        path.unlink()
    return Built(slot=slot, bundle=target)


def hearth(source: Path, cache: Path, *argv: str) -> None:
    path = ":".join(os.fspath(source / name) for name in ("image", "firstboot", "setup-ui"))
    with progress(f"hearth {' '.join(argv[:1])} {argv[-1]}"):
        result = run(
            [sys.executable, "-m", "imagebuild", *argv],
            env={"PYTHONPATH": path, "HEARTH_CACHE": os.fspath(cache), **index_environment()},
        )
    sys.stderr.write(result.stderr)


def change_little(source: Path) -> None:
    """Every module of one Python package, and one template.

    By enough that files become longer by a block, and all that lies behind them on the card moves.
    """
    for path in (source / PYTHON_PACKAGE).rglob("*.py"):
        path.write_text(f"{path.read_text()}\nCHANGED = {path.name * 40!r}\n")
    template = source / EDITED
    template.write_text("# changed\n" + template.read_text())


def small_rows(place: Path, old: Built, new: Built) -> list[Row]:
    what = "one Python package and one template"
    got, index = download(place, old, new)
    size = new.bundle.stat().st_size
    return [
        Row(figure="full bundle", value=size / 1e6, unit="MB"),
        Row(figure="block index alone, of the bundle", value=index / size * 100, unit="%"),
        Row(figure=f"downloaded for {what}", value=got / 1e6, unit="MB"),
        Row(figure=f"downloaded for {what}, of the bundle", value=got / size * 100, unit="%",
            must=12, aim=6),
    ]  # fmt: skip


def month_rows(place: Path, cache: Path, old: Built, new: Built) -> list[Row]:
    what = "a point release of Synapse and Debian's security updates since the last point release"
    size = new.bundle.stat().st_size
    got, _ = download(place, old, new)
    kernel, _ = download(place, old, new, without=kernel_blocks(cache))
    return [
        Row(figure=f"downloaded for {what}, of the bundle", value=got / size * 100, unit="%",
            aim=40),
        Row(figure="the same with another kernel and all its modules",
            value=kernel / size * 100, unit="%", aim=40),
    ]  # fmt: skip


def download(
    place: Path, old: Built, new: Built, without: frozenset[bytes] = frozenset()
) -> tuple[int, int]:
    """Bytes that go over the line, both ways, for the first update of a newly flashed card."""
    target = place / "installed"
    with serve(place) as (address, count), progress(f"Installing {new.bundle.name}"):
        made = install(f"{address}/{new.bundle.name}", [old.slot], target, without=without)
    with new.slot.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    if made.sha256 != expected:
        raise OSError("what was installed is not the slot that was built")
    sys.stderr.write(f"  {json.dumps({**vars(count), **vars(made)})}\n")
    return count.sent + count.received, made.index


def kernel_blocks(cache: Path) -> frozenset[bytes]:
    """Hashes of all blocks that kernel, modules and device trees have in a slot."""
    layers = sorted((cache / "layers").glob("kernel-*"), key=lambda path: path.stat().st_mtime)
    found = set()
    for path in layers[-1].rglob("*"):
        if path.is_file() and not path.is_symlink():
            raw = path.read_bytes()
            for at in range(0, len(raw), BLOCK):
                found.add(hashlib.sha256(raw[at : at + BLOCK].ljust(BLOCK, b"\0")).digest())
    return frozenset(found)


def make_old(context: Context, source: Path) -> None:
    """The same image as it was: Debian's last point release, and the Synapse before."""
    lock = load_lock(source / LOCK)
    save_lock(replace(lock, root=tuple(earlier(context, lock))), source / LOCK)
    wheels = (source / WHEELS).read_text()
    [version] = re.findall(r"^matrix-synapse(?:\[.*])?==([^\s\\]+)", wheels, flags=re.M)
    wish = source / "image/profiles/synapse-old.in"
    given = (source / "image/profiles/synapse.in").read_text()
    wish.write_text(f"{given}\nmatrix-synapse<{version}\n")
    run(
        [Path(sys.prefix) / "bin/uv", "pip", "compile", "--quiet", "--python-version", "3.13",
         "--python-platform", "aarch64-manylinux_2_40", "--only-binary", ":all:",
         "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", wish,
         "-o", source / WHEELS],
        env=index_environment(),
    )  # fmt: skip


def earlier(context: Context, lock: PackageSet) -> Iterator[Package]:
    """Each package in the oldest version that the mirror still has."""
    state = archive.prepare_apt(context, context.recipe.profile.architecture)
    names = [package.name for package in lock.root]
    text = archive._apt(context, state, "apt-cache", "show", *names)
    oldest: dict[str, Package] = {}
    for stanza in text.strip().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, flags=re.M))
        name, version, arch, filename, sha256, size = (fields[key] for key in archive.FIELDS)
        # Newest first, so that the last one stays; backports are newer than what we have.
        oldest[name] = Package(name=name, version=version, architecture=arch, filename=filename,
                               sha256=sha256, size=int(size))  # fmt: skip
    for package in lock.root:
        found = oldest[package.name]
        if found.version != package.version:
            sys.stderr.write(f"  {package.name} {found.version} -> {package.version}\n")
        yield found
