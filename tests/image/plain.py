"""The plain way to a root file system: mmdebstrap over a repository of .deb files that we hold.

The --long proof compares with it, and so does the benchmark.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from appliance.run import run
from imagebuild import rootfs
from imagebuild.context import Context
from imagebuild.packages import Package
from imagebuild.sandbox import inside


def make_repository(
    context: Context, packages: Sequence[Package], directory: Path, *, architecture: str
) -> None:
    """A flat archive of exactly these .deb files (Debian wiki, "DebianRepository/Format")."""
    directory.mkdir(parents=True)
    sandbox = inside(context.tools.resolve(), read_only=[(context.debs, "/srv")])
    script = 'for deb; do dpkg-deb -f "/srv/$deb"; echo "Filename: ./$deb"; echo; done'
    argv = [*sandbox, "sh", "-ec", script, "sh", *(package.deb for package in packages)]
    hashes = {package.deb: package for package in packages}

    def with_hash(match: re.Match[str]) -> str:
        package = hashes[match.group(1)]
        return f"{match.group(0)}\nSize: {package.size}\nSHA256: {package.sha256}"

    control = run(argv).stdout
    index = re.sub(r"^Filename: \./(.*)$", with_hash, control, flags=re.M).encode()
    (directory / "Packages").write_bytes(index)
    # mmdebstrap looks for essential packages in the archive of the suite's name only.
    suite = context.recipe.profile.suite
    (directory / "Release").write_text(
        f"Suite: {suite}\nCodename: {suite}\nArchitectures: {architecture}\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )
    for package in packages:
        (directory / package.deb).symlink_to(context.debs.resolve() / package.deb)


def install_plainly(
    context: Context, packages: Sequence[Package], repository: Path, tree: Path, architecture: str
) -> None:
    """Plain mmdebstrap, under qemu-user where it must be, with our exclusions and settings."""
    profile = context.recipe.profile
    excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in profile.path_exclude]
    includes = [f"--dpkgopt=path-include={pattern}" for pattern in profile.path_include]
    users = "\n".join(
        f"cat >> \"$1/etc/{name}\" <<'EOF'\n{lines.strip()}\nEOF"
        for name, lines in rootfs.FIXED_USERS.items()
    )
    cluster = (
        'mkdir -p "$1/etc/postgresql-common"; '
        'echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"'
    )
    run(
        ["mmdebstrap", "--mode=root", "--variant=essential", "--format=directory",
         f"--architectures={architecture}", "--skip=check/qemu", *excludes, *includes,
         f"--setup-hook={cluster}", f"--essential-hook={users}",
         "--aptopt=APT::Install-Recommends false",
         f"--include={','.join(package.name for package in packages)}", profile.suite, tree,
         f"deb [trusted=yes] copy://{repository} ./"],
    )  # fmt: skip
