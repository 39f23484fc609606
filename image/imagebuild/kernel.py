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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from appliance.errors import ImageError
from appliance.run import run, spawn
from imagebuild.cache import ensure_layer, hash_inputs
from imagebuild.context import Context
from imagebuild.packages import Package, PackageSet
from imagebuild.sandbox import inside

GENERATION = 6
FIRMWARE = ("brcm/brcmfmac434", "brcm/brcmfmac43", "cypress/cyfmac434")


@dataclass(frozen=True, kw_only=True)
class Member:
    """Of a package: a file's content, or where a symbolic link leads. ``path`` has no leading ./"""

    path: str
    data: bytes = b""
    link: str | None = None


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
    lay_firmware(deb_members(context, find_package(packages, "firmware-brcm80211")), target)
    sandbox = inside(context.tools, binds=[(target / "usr/lib/modules", "/usr/lib/modules")])
    run([*sandbox, "depmod", release])


def lay_firmware(members: Iterable[Member], target: Path) -> None:
    """The radios' firmware and board files, by the names that the driver asks for.

    brcmfmac asks for brcm/NAME.bin and brcm/NAME.BOARD.txt. For a Pi most of these are links, into
    cypress/ or to another board's file; links to what is not carried are left out.
    """
    links = []
    for member in members:
        name = member.path.removeprefix("usr/lib/firmware/")
        if not name.startswith(FIRMWARE):
            continue
        path = target / "usr/lib/firmware" / name
        if member.link is None:
            _write(path, member.data)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(member.link)
            links.append(path)
    for path in links:
        if not path.exists():
            path.unlink()


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
    """Regular files of a .deb as (path without a leading ./, content)."""
    for member in deb_members(context, package):
        if member.link is None:
            yield member.path, member.data


def deb_members(context: Context, package: Package) -> Iterator[Member]:
    """Raises ImageError for a package that cannot be unpacked."""
    pipe = spawn(
        [*inside(context.tools, read_only=[(context.debs, "/debs")]),
         "dpkg-deb", "--fsys-tarfile", f"/debs/{package.deb}"], output=-1,
    )  # fmt: skip
    with pipe:
        assert pipe.stdout is not None
        yield from read_members(cast("IO[bytes]", pipe.stdout.buffer))  # type: ignore[attr-defined]
        code = pipe.wait()  # before its output is closed: some of it is still to come
    if code != 0:
        raise ImageError(f"{package.deb} cannot be unpacked", hint="delete it from the cache")


def read_members(stream: IO[bytes]) -> Iterator[Member]:
    """Regular files and symbolic links of a tar archive that is read from a pipe."""
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for found in archive:
            path = found.name.removeprefix("./")
            if found.issym():
                yield Member(path=path, link=found.linkname)
            elif found.isreg():
                file = archive.extractfile(found)
                assert file is not None
                yield Member(path=path, data=file.read())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
