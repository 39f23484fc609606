"""build_image(): the table of contents of an image, and nothing else."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from appliance.log import logger, progress
from imagebuild.artifacts import compress_image, describe, make_block_map, write_checksums
from imagebuild.bootfs import make_bootfs
from imagebuild.cache import ensure_layer, hash_files, hash_inputs
from imagebuild.context import Context
from imagebuild.disk import assemble_image, make_slot
from imagebuild.facts import release_facts
from imagebuild.host import check_host, ensure_emulation
from imagebuild.kernel import ensure_kernel
from imagebuild.manifest import write_manifest, write_sbom
from imagebuild.overlay import ensure_device, trusted_keyring
from imagebuild.packages import PackageSet, download, load_lock, resolve, save_lock
from imagebuild.programs import ensure_dendrite, ensure_rauc_patch, ensure_synapse
from imagebuild.rootfs import make_packages_layer
from imagebuild.summary import Summary
from imagebuild.tools import ensure_tools

# The modules that turn finished layers into artefacts.
ASSEMBLING = ("artifacts", "bootfs", "disk", "manifest", "sparse")
VERSIONS_SECONDS = 6 * 3600
PACKAGES_GENERATION = 6


def build_image(context: Context, summary: Summary) -> None:
    """From recipe to artefacts, in order; what did not change comes from the cache."""
    os.umask(0o022)  # a stricter one would make /usr unreadable for every service
    with summary.stage("check"):
        check_host(context.build)
        trusted_keyring(context)  # a wrong one is told before hours of work
        context.work.mkdir(exist_ok=True)
    with summary.stage("tools tree"):
        tools = ensure_tools(context)
        ensure_emulation(tools, context.recipe.profile.architecture)
    with summary.stage("package list and downloads"):
        packages = choose_packages(context)
        download(context, [*packages.root, *packages.boot])
    with summary.stage("layers"):
        layers = make_layers(context, packages)
        summary.add_layers(layers)
    with summary.stage("device layer"):
        device = ensure_device(context, packages, layers)
        layers = [device, *layers]
        summary.add_layers([device])
    if is_current(context, layers):
        summary.say_unchanged(context)
        return
    stamp(context).unlink(missing_ok=True)
    with summary.stage("file systems"), progress("Making the file systems"):
        slot, bootfs = make_file_systems(context, packages, layers)
    with summary.stage("disk image"), progress("Assembling the disk image"):
        assemble_image(bootfs, slot, context.raw_image)
    with summary.stage("compression"), progress("Compressing"):
        finish(context, packages, layers, summary)


def choose_packages(context: Context) -> PackageSet:
    """The lock's versions with --locked, else today's: the mirror is asked every few hours."""
    if context.recipe.locked:
        return load_lock(context.lock)
    profile = context.recipe.profile
    wish = (profile.packages, profile.without, profile.suite, profile.kernel.package)
    key = hash_inputs(wish, context.recipe.mirror)[:16]
    answer = context.cache / f"versions-{key}.lock"
    if answer.exists() and time.time() - answer.stat().st_mtime < VERSIONS_SECONDS:
        logger.info("Package versions: asked less than six hours ago (--refresh asks again)")
        return load_lock(answer)
    with progress("Asking the mirror for package versions"):
        packages = resolve(context)
    save_lock(packages, answer)
    return packages


def make_layers(context: Context, packages: PackageSet) -> list[Path]:
    """The independent layers, side by side: one waits for emulation while another compiles."""
    makers: list[Callable[[], Path]] = [
        lambda: ensure_packages(context, packages),
        lambda: ensure_dendrite(context),
        lambda: ensure_kernel(context, packages),
        lambda: ensure_synapse(context),
        lambda: ensure_rauc_patch(context),
    ]
    with ThreadPoolExecutor(2) as pool:
        futures: list[Future[Path]] = [pool.submit(make) for make in makers]
        return [future.result() for future in reversed(futures)]


def ensure_packages(context: Context, packages: PackageSet) -> Path:
    profile = context.recipe.profile
    key = hash_inputs(
        PACKAGES_GENERATION,
        [package.sha256 for package in packages.root],
        profile.path_exclude,
        profile.path_include,
    )
    return ensure_layer(
        context.layers,
        "packages",
        key,
        lambda target: make_packages_layer(
            context, target, packages.root, architecture=profile.architecture
        ),
        title="Installing packages",
    )


def make_file_systems(
    context: Context, packages: PackageSet, layers: list[Path]
) -> tuple[Path, Path]:
    """Slot and bootfs, side by side."""
    slot, bootfs = context.work / "slot.ext4", context.work / "bootfs.img"
    kernel = next(layer for layer in layers if layer.name.startswith("kernel-"))
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(make_bootfs, context, packages, kernel, bootfs)
        make_slot(context, layers, slot)
        beside.result()
    return slot, bootfs


def image_key(context: Context, layers: list[Path]) -> str:
    source = context.recipe.source
    code = [source / f"image/imagebuild/{name}.py" for name in ASSEMBLING]
    builder = hash_files([*code, source / "image/boot"], base=source)
    return hash_inputs(
        [layer.name for layer in layers], context.recipe.profile.compression, builder
    )


def stamp(context: Context) -> Path:
    """Says of which layers the artefacts are; there only while all of them are whole."""
    return context.build / f"{context.name}.key"


def is_current(context: Context, layers: list[Path]) -> bool:
    """Whether the artefacts of exactly these layers are all there."""
    described = (".bmap", ".json", ".spdx.json", ".sha256")
    outputs = [context.raw_image, context.compressed_image]
    outputs += [context.build / f"{context.name}{suffix}" for suffix in described]
    return (
        stamp(context).exists()
        and stamp(context).read_text() == image_key(context, layers)
        and all(path.exists() for path in outputs)
    )


def finish(context: Context, packages: PackageSet, layers: list[Path], summary: Summary) -> None:
    """Compress and describe."""
    image = context.raw_image
    compressed = compress_image(context, image)
    block_map = make_block_map(context, image)
    artifacts = [describe("image", compressed), describe("block map", block_map)]
    sbom = context.build / f"{context.name}.spdx.json"
    write_sbom(context, packages, sbom)
    artifacts.append(describe("sbom", sbom))
    facts = release_facts(context, packages, layers)
    write_manifest(context, packages, facts, artifacts, context.build / f"{context.name}.json")
    write_checksums(artifacts, context.build / f"{context.name}.sha256")
    if not context.recipe.locked:
        save_lock(packages, context.build / f"{context.name}.lock")
    stamp(context).write_text(image_key(context, layers))
    summary.add_artifacts(artifacts)
    for scratch in ("merged", "slot-upper", "slot-work"):
        shutil.rmtree(context.work / scratch, ignore_errors=True)


def give_to_caller(path: Path) -> None:
    """What root made for the checkout belongs to the person who called sudo."""
    if "SUDO_UID" not in os.environ:
        return
    owner, group = int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])
    for entry in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):  # of somebody at work beside us
            os.chown(entry, owner, group, follow_symlinks=False)
