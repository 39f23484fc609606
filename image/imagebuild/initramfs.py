"""Our own small initramfs, assembled natively: busybox, a few modules, one readable script."""

from __future__ import annotations

import shutil
from pathlib import Path

from appliance.persistence import PERSISTED
from appliance.run import run
from imagebuild.context import Context
from imagebuild.kernel import deb_files, find_package, module_depends, module_name
from imagebuild.packages import PackageSet
from imagebuild.sandbox import inside


def make_initramfs(context: Context, packages: PackageSet, kernel: Path, target: Path) -> None:
    """Write the compressed cpio archive to ``target``; ``kernel`` is the kernel layer."""
    work = context.work / "initramfs"
    shutil.rmtree(work, ignore_errors=True)
    for name in ("bin", "modules"):
        (work / name).mkdir(parents=True)
    for member, data in deb_files(context, find_package(packages, "busybox-static")):
        if member == "usr/bin/busybox":
            (work / "bin/busybox").write_bytes(data)
    (work / "bin/busybox").chmod(0o755)
    shutil.copyfile(context.recipe.source / "image/boot/init", work / "init")
    (work / "init").chmod(0o755)
    (work / "persist").write_text(persist_lines())
    available = {
        module_name(path.name): path
        for path in sorted((kernel / "usr/lib/modules").rglob("*.ko"))
    }  # fmt: skip
    for name, wanted in context.recipe.profile.kernel.initramfs_lists.items():
        order = load_order([module_name(module) for module in wanted], available)
        (work / "modules" / name).write_text("".join(f"{module}\n" for module in order))
        for module in order:
            shutil.copyfile(available[module], work / f"modules/{module}.ko")
    _pack(context, work, target)


def persist_lines() -> str:
    """The bound rows of the persistence table, in the form that /init reads."""
    return "".join(
        f"{row.path} {row.bind} {'f' if row.is_file else 'd'}\n" for row in PERSISTED if row.bind
    )


def load_order(wanted: list[str], available: dict[str, Path]) -> list[str]:
    """Dependencies first; what is built into the kernel has no file and is left out."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in available:
            return
        for needed in module_depends(available[name].read_bytes()):
            visit(needed)
        if name not in order:
            order.append(name)

    for name in wanted:
        visit(name)
    return order


def _pack(context: Context, tree: Path, target: Path) -> None:
    """cpio newc, sorted, all files of root and of the same date: the same bytes every time.

    What changes most often comes last, so that what is before it stays the same when compressed,
    and an update need not download it.
    """
    sandbox = inside(context.tools, binds=[(tree, "/srv"), (target.parent, "/mnt")], cwd="/srv")
    script = (
        "find . -exec touch -h -d @0 {} +;"
        " { find . ! -path ./init ! -path ./persist -print0 | LC_ALL=C sort -z;"
        " printf './init\\0./persist\\0'; }"
        " | cpio -0 -o -H newc --reproducible -R 0:0 --quiet"
        f" | zstd -q -19 -f -o /mnt/{target.name}"
    )
    run([*sandbox, "sh", "-ec", script])
