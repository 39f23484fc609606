"""The tools tree: one Debian tree of the target's suite for the host's own architecture.

It supplies every tool of a known version that build and tests use, and the native interpreters
that configure the target's packages. It is only unpacked, not configured: no service of it ever
runs, and unpacking takes a quarter of the time.
"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.errors import NetworkError
from appliance.run import run
from imagebuild.cache import ensure_layer, hash_inputs
from imagebuild.context import Context
from imagebuild.host import debian_architecture, find_mirrors, source_lines

PACKAGES = (
    # native twins of what maintainer scripts call
    "dash", "bash", "perl", "python3", "coreutils", "findutils", "sed", "grep", "gzip", "mawk",
    "diffutils", "debianutils", "tar", "passwd", "libc-bin", "openssl", "systemd", "udev", "kmod",
    "util-linux", "ucf", "dpkg", "apt", "hostname", "login",
    # making images
    "fdisk", "e2fsprogs", "dosfstools", "mtools", "u-boot-tools", "device-tree-compiler", "cpio",
    "zstd", "xz-utils", "bmap-tools", "squashfs-tools", "golang-go", "ca-certificates", "rauc",
    "libarchive13t64",  # mke2fs opens it to read a tar archive
    "gcc-aarch64-linux-gnu",  # arm64's own compiler has this name, too
    # running them
    "qemu-user", "qemu-system-arm", "qemu-utils", "u-boot-qemu", "ipxe-qemu-",
)  # fmt: skip
# The C library's headers for arm64, by the host's architecture.
HEADERS = {"amd64": "libc6-dev-arm64-cross", "arm64": "libc6-dev"}
GENERATION = 1  # raise it when the way of making the tree changes


def tree_key(suite: str, architecture: str) -> str:
    """The hash of all that decides what is in the tree."""
    return hash_inputs(GENERATION, (*PACKAGES, HEADERS[architecture]), suite, architecture)


def ensure_tools(context: Context) -> Path:
    """Make the tree when it is not there; returns its path (context.tools links to it)."""
    recipe = context.recipe
    architecture = debian_architecture()
    key = tree_key(recipe.profile.suite, architecture)
    tree = ensure_layer(
        context.layers,
        "tools",
        key,
        lambda target: _make(context, target, architecture),
        title="Making the tools tree",
    )
    if not context.tools.is_symlink() or context.tools.resolve() != tree:
        context.tools.unlink(missing_ok=True)
        context.tools.symlink_to(tree)
    return tree


def _make(context: Context, target: Path, architecture: str) -> None:
    mirrors = find_mirrors(context.recipe.profile.suite, mirror=context.recipe.mirror)
    sources = source_lines(mirrors, architecture)
    packages = ",".join((*PACKAGES, HEADERS[architecture]))
    log = context.logs / "tools.log"
    with log.open("w") as output:
        result = run(
            ["mmdebstrap", "--variant=extract", "--mode=root", "--format=directory",
             "--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Languages none",
             f"--include={packages}", context.recipe.profile.suite, target, "-"],
            input=sources, check=False,
        )  # fmt: skip
        output.write(result.stdout + result.stderr)
    if result.returncode != 0:
        message = f"the tools tree could not be made:\n{_last_errors(result.stderr)}"
        raise NetworkError(message, hint=f"is the mirror reachable? see {log}")
    finish_unconfigured(target)


def finish_unconfigured(tree: Path) -> None:
    """What the packages' scripts would have done that tools need: awk, users, groups."""
    master = tree / "usr/share/base-passwd"
    for name in ("passwd", "group"):
        (tree / "etc" / name).write_text((master / f"{name}.master").read_text())
    awk = tree / "usr/bin/awk"
    if not awk.exists():
        awk.symlink_to("mawk")
    for name in ("go", "gofmt"):
        link = tree / "usr/bin" / name
        if not link.is_symlink() and not link.exists():
            link.symlink_to(os.path.join("../lib/go/bin", name))  # noqa: PTH118


def _last_errors(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith(("E:", "W:", "Err:"))]
    return "\n".join(lines[-4:]) or text.strip()[-300:]
