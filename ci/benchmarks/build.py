"""How long the image takes to build, cold and warm, and how large it is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from appliance.log import progress
from appliance.run import run
from benchmarks.table import Row, publish, stopwatch
from image.plain import install_plainly, make_repository
from imagebuild import packages as archive
from imagebuild.build import choose_packages
from imagebuild.context import Context, make_context
from imagebuild.host import check_host, debian_architecture, ensure_emulation
from imagebuild.packages import Package, download
from imagebuild.recipe import SOURCE, make_recipe
from imagebuild.rootfs import make_packages_layer
from imagebuild.tools import ensure_tools

PARTS = ("rootfs", "whole")
DOWNLOADS = ("debs", "uv", "go-path")
EDITED = "overlays/base/usr/share/hearth/templates/nginx/https.conf.j2"


def measure(parts: tuple[str, ...]) -> None:
    context = make_context(make_recipe("hearth"))
    check_host(context.build)
    place = context.build / "bench"
    rows: list[Row] = []
    if "rootfs" in parts:
        rows += measure_rootfs(context, place / "rootfs")
    if "whole" in parts:
        rows += measure_whole(context, place / "whole")
    publish("build", rows, place)


def measure_rootfs(context: Context, place: Path) -> list[Row]:
    """Ours for arm64 against plain mmdebstrap for the host's own architecture."""
    host = debian_architecture()
    profile = context.recipe.profile
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    ensure_emulation(ensure_tools(context), profile.architecture)
    ours = choose_packages(context)
    native = equivalent(context, host)
    download(context, [*ours.root, *native])
    repository = place / "repository"
    make_repository(context, native, repository, architecture=host)
    target = place / profile.architecture
    target.mkdir()
    with progress("Root file system, ours"), stopwatch() as fast:
        make_packages_layer(context, target, ours.root, architecture=profile.architecture)
    with progress(f"Root file system, plain, for {host}"), stopwatch() as plain:
        install_plainly(context, native, repository, place / host, host)
    shutil.rmtree(place)
    return [
        Row(figure=f"root file system, {len(ours.root)} packages, arm64", value=fast.seconds,
            unit="s"),
        Row(figure=f"root file system, {len(native)} packages, {host} natively",
            value=plain.seconds, unit="s"),
        Row(figure="root file system: multiple of native", value=fast.seconds / plain.seconds,
            unit="x", must=3.0, aim=1.5),
    ]  # fmt: skip


def equivalent(context: Context, architecture: str) -> tuple[Package, ...]:
    """The closure of the profile's packages for another architecture."""
    profile = context.recipe.profile
    state = archive.prepare_apt(context, architecture)
    wanted = [archive.ESSENTIAL, *profile.packages, *(f"{name}-" for name in profile.without)]
    return archive._closure(context, state, wanted)


def measure_whole(context: Context, place: Path) -> list[Row]:
    """`hearth build` in a copy of the source with a cache that holds downloads only."""
    shutil.rmtree(place, ignore_errors=True)
    source, cache = place / "source", place / "cache"
    copy_source(source)
    cache.mkdir(parents=True)
    for name in DOWNLOADS:
        (context.cache / name).mkdir(exist_ok=True)
        (cache / name).symlink_to(context.cache / name)
    cold = build(source, cache)
    nothing = build(source, cache)
    edited = source / EDITED
    edited.write_text(edited.read_text() + "\n")
    one_file = build(source, cache)
    [image] = (source / "build").glob("*.img.*")
    size = image.stat().st_size / 1e6
    shutil.rmtree(place)
    return [
        Row(figure="image/build, cold, downloads cached", value=cold / 60, unit="min", must=8,
            aim=4),
        Row(figure="rebuild after editing one overlay file", value=one_file, unit="s", must=45,
            aim=20),
        Row(figure="rebuild with nothing changed", value=nothing, unit="s", must=5, aim=1),
        Row(figure="compressed image", value=size, unit="MB", must=380, aim=300),
    ]  # fmt: skip


def copy_source(target: Path) -> None:
    """What git knows and would add, so that a measurement never edits the checkout."""
    listed = run(["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"],
                 cwd=SOURCE).stdout  # fmt: skip
    for name in listed.splitlines():
        if (SOURCE / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / name, target / name, follow_symlinks=False)


def build(source: Path, cache: Path) -> float:
    """Seconds that a whole `hearth build` takes, its start included."""
    path = ":".join(os.fspath(source / name) for name in ("image", "firstboot", "setup-ui"))
    with progress("hearth build"), stopwatch() as watch:
        result = run(
            [sys.executable, "-m", "imagebuild", "build"],
            env={"PYTHONPATH": path, "HEARTH_CACHE": os.fspath(cache), **index_environment()},
        )
    sys.stderr.write(result.stderr)
    return watch.seconds


def index_environment() -> dict[str, str]:
    """Where this person's packages and modules come from."""
    names = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "GOPROXY", "GONOSUMDB")
    return {name: os.environ[name] for name in names if name in os.environ}
