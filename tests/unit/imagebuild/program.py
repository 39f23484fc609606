"""The real `hearth` in a process of its own, on machines that lack something.

What is missing is taken away for real: another user, a PATH without the program, or a private
mount namespace with a small disk, no keyring, no binfmt_misc.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imagebuild.host import NEEDED_TOOLS, debian_architecture
from imagebuild.packages import Package, PackageSet, save_lock
from imagebuild.recipe import SOURCE
from imagebuild.tools import tree_key

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
BINFMT = "/proc/sys/fs/binfmt_misc"
# As binfmt_misc shows a registration with the F flag.
REGISTERED = f"""
mount -t tmpfs none {BINFMT}
touch {BINFMT}/register
printf 'enabled\\ninterpreter /bin/sh\\nflags: F\\n' > {BINFMT}/qemu-aarch64
"""


def as_nobody() -> list[str]:
    return NOBODY if os.geteuid() == 0 else []


def as_root(script: str = "") -> list[str]:
    """argv prefix: root (of a user namespace, when we are not root) with mounts of its own."""
    mapped = [] if os.geteuid() == 0 else ["--map-root-user"]
    prefix = ["unshare", *mapped, "--mount", "--propagation", "private"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine gives no namespaces to users")
    return [*prefix, "sh", "-ec", f'{script}\nexec "$@"', "sh"]


@dataclass
class Program:
    """A copy of the builder's source, a cache, and a PATH with what the builder looks for."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source = self.directory / "source"
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCE / "image", self.source / "image", ignore=ignore)
        shutil.copytree(
            SOURCE / "firstboot/appliance", self.source / "firstboot/appliance", ignore=ignore
        )
        self.disk = self.directory / "disk"
        self.disk.mkdir()
        self.cache = self.directory / "cache"
        self.cache.mkdir()
        self.programs = self.directory / "bin"
        self.programs.mkdir()
        for name in NEEDED_TOOLS:
            (self.programs / name).symlink_to("/bin/true")
        for path in (self.directory, *self.directory.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))

    @property
    def profile(self) -> Path:
        return self.source / "image/profiles/hearth.toml"

    def disk_of(self, size: str) -> str:
        return f'mount -t tmpfs -o size={size} none "{self.disk}"\n'

    def cache_of(self, size: str) -> str:
        """The cache on a small disk, its content kept."""
        kept = self.directory / "kept"
        return (
            f'cp -a "{self.cache}" "{kept}"; mount -t tmpfs -o size={size} none "{self.cache}"\n'
            f'cp -a "{kept}/." "{self.cache}"\n'
        )

    def with_tools_tree(self) -> None:
        """As after an earlier build: the tools tree is there (nothing here looks into it)."""
        key = tree_key("trixie", debian_architecture())
        (self.cache / f"layers/tools-{key[:16]}").mkdir(parents=True)

    def lock(self, packages: Sequence[Package]) -> None:
        whole = PackageSet(root=tuple(packages), boot=(), kernel_release="0")
        save_lock(whole, self.source / "image/hearth.lock")

    def run(self, *argv: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHONPATH": f"{self.source}/image:{self.source}/firstboot",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HEARTH_CACHE": os.fspath(self.cache),
            "HOME": os.fspath(self.directory),
            **self.environment,
        }
        return subprocess.run(
            [*prefix, sys.executable, "-m", "imagebuild", *argv],
            env=environment, cwd=self.directory, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
