"""Kernel, modules and device trees: unpacked from Debian's packages, reduced to what a Pi needs.

Nothing is installed by dpkg here: the kernel's scripts would only make an initramfs that we do
not use. Modules are decompressed, because the image as a whole is compressed again and a small
board decompresses slowly.
"""

from __future__ import annotations

import gzip
import lzma
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from appliance.errors import ImageError
from appliance.run import run, spawn
from imagebuild.cache import ensure_layer, hash_inputs
from imagebuild.context import Context
from imagebuild.packages import Package, PackageSet
from imagebuild.sandbox import inside

GENERATION = 5
FIRMWARE = ("brcm/brcmfmac434", "brcm/brcmfmac43", "cypress/cyfmac434")


def ensure_kernel(context: Context, packages: PackageSet) -> Path:
    """The layer with /usr/lib/modules, /usr/lib/firmware and /boot's kernel and device trees."""
    boards = context.recipe.boards
    key = hash_inputs(
        GENERATION,
        [package.sha256 for package in packages.boot],
        context.recipe.profile.kernel,
        [board.device_tree for board in boards],
    )
    return ensure_layer(
        context.layers,
        "kernel",
        key,
        lambda target: _make(context, target, packages),
        title="Unpacking kernel and firmware",
    )


def find_package(packages: PackageSet, prefix: str) -> Package:
    for package in packages.boot:
        if package.name.startswith(prefix):
            return package
    raise ImageError(f"the package set has no {prefix!r}", hint="`hearth lock` renews it")


def _make(context: Context, target: Path, packages: PackageSet) -> None:
    release = packages.kernel_release
    boot = target / "boot"
    (boot / "dtb/broadcom").mkdir(parents=True)
    modules = target / "usr/lib/modules" / release
    wanted_trees = {f"broadcom/{board.device_tree}.dtb" for board in context.recipe.boards}
    for member, data in deb_files(context, find_package(packages, "linux-base-")):
        _, mark, tree = member.partition("/dtb/")
        if mark and tree in wanted_trees:
            (boot / "dtb" / tree).write_bytes(data)
        elif member.endswith(("/modules.builtin", "/modules.builtin.modinfo", "/modules.order")):
            _write(modules / Path(member).name, data)
    for member, data in deb_files(context, find_package(packages, "linux-binary-")):
        if member.endswith("/vmlinuz"):
            (boot / "vmlinuz").write_bytes(gzip.compress(data, 9, mtime=0))
    _unpack_modules(context, find_package(packages, "linux-modules-"), modules)
    for member, data in deb_files(context, find_package(packages, "firmware-brcm80211")):
        name = member.removeprefix("usr/lib/firmware/")
        if name.startswith(FIRMWARE):
            _write(target / "usr/lib/firmware" / name, data)
    sandbox = inside(context.tools, binds=[(target / "usr/lib/modules", "/usr/lib/modules")])
    run([*sandbox, "depmod", release])


def _unpack_modules(context: Context, package: Package, target: Path) -> None:
    """Two passes over the package: learn who depends on whom, then keep the wanted closure."""
    kernel = context.recipe.profile.kernel
    content = {}
    for member, data in deb_files(context, package):
        _, mark, path = member.partition(f"/{target.name}/")
        if path.endswith(".ko.xz"):
            content[path.removesuffix(".xz")] = lzma.decompress(data)
        elif mark and "/" not in path:
            _write(target / path, data)
    by_name = {module_name(path): path for path in content}
    roots = [path for path in content if path.startswith(kernel.module_directories)]
    named = (
        *kernel.modules,
        *(name for names in kernel.initramfs_lists.values() for name in names),
    )
    roots += [by_name[key] for name in named if (key := module_name(name)) in by_name]
    for path in _closure(roots, content, by_name):
        _write(target / path, content[path])


def module_name(path: str) -> str:
    """The kernel's name of a module file: hyphens are underscores (modprobe(8))."""
    return PurePosixPath(path).name.split(".")[0].replace("-", "_")


def _closure(roots: Iterable[str], content: dict[str, bytes], by_name: dict[str, str]) -> set[str]:
    found: set[str] = set()
    todo = list(roots)
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        for name in module_depends(content[path]):
            if name in by_name:
                todo.append(by_name[name])
    return found


def module_depends(module: bytes) -> list[str]:
    """The hard and soft dependencies in a module's .modinfo section."""
    names = []
    for entry in module.split(b"\0"):
        if entry.startswith(b"depends=") and entry != b"depends=":
            names += entry[8:].decode().split(",")
        elif entry.startswith(b"softdep="):
            words = entry[8:].decode(errors="replace").split()
            names += [word for word in words if not word.endswith(":")]
    return [module_name(name) for name in names]


def deb_files(context: Context, package: Package) -> Iterator[tuple[str, bytes]]:
    """Regular files of a .deb as (path without a leading ./, content); links are resolved."""
    pipe = spawn(
        [*inside(context.tools, read_only=[(context.debs, "/debs")]),
         "dpkg-deb", "--fsys-tarfile", f"/debs/{package.deb}"], output=-1,
    )  # fmt: skip
    with pipe:
        assert pipe.stdout is not None
        binary = cast("IO[bytes]", pipe.stdout.buffer)  # type: ignore[attr-defined]
        with tarfile.open(fileobj=binary, mode="r|") as archive:
            for member in archive:
                if member.isreg():
                    file = archive.extractfile(member)
                    assert file is not None
                    yield member.name.removeprefix("./"), file.read()
        code = pipe.wait()  # before its output is closed: some of it is still to come
    if code != 0:
        raise ImageError(f"{package.deb} cannot be unpacked", hint="delete it from the cache")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
