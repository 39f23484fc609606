"""argv prefixes for run(): a program inside a tree, in namespaces of its own.

bubblewrap (Debian) makes the mounts in a private namespace, so a failing stage cannot leave any.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

Binds = Sequence[tuple[Path, str]]


def inside(
    tree: Path,
    *,
    binds: Binds = (),
    read_only: Binds = (),
    network: bool = False,
    writable: bool = True,
    cwd: str = "/",
    env: dict[str, str] | None = None,
) -> list[str]:
    """The prefix that runs a command with ``tree`` as its root.

    ``binds`` and ``read_only`` are (host path, path inside). All capabilities are kept inside,
    because dpkg and mke2fs must set owners; the network is off unless asked for.
    """
    prefix = ["bwrap", "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc"]
    prefix += ["--cap-add", "ALL"]
    prefix += ["--bind" if writable else "--ro-bind", os.fspath(tree), "/"]
    prefix += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/run"]
    if network:
        for file in ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs"):
            if Path(file).exists():
                prefix += ["--ro-bind", os.path.realpath(file), file]
    else:
        prefix += ["--unshare-net"]
    for source, target in binds:
        prefix += ["--bind", os.fspath(source), target]
    for source, target in read_only:
        prefix += ["--ro-bind", os.fspath(source), target]
    prefix += ["--chdir", cwd, "--clearenv"]
    values = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": "/root",
        **(env or {}),
    }
    for name, value in values.items():
        prefix += ["--setenv", name, value]
    return [*prefix, "--"]
