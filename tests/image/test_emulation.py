"""The native interpreters change nothing: the same packages, plainly emulated, give the same tree.

mmdebstrap installs the very .deb files of the last build under qemu-user, from a repository made
of them, and the trees are compared file by file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from image.plain import install_plainly, make_repository
from imagebuild import rootfs
from imagebuild.build import choose_packages
from imagebuild.context import Context
from imagebuild.host import debian_architecture, ensure_emulation

pytestmark = [pytest.mark.image, pytest.mark.long, pytest.mark.timeout(7200)]

# Files that may differ, and why; their names must be the same in both trees.
EXCEPTIONS = {
    r"etc/(passwd|group|shadow|gshadow)-?": "numbers of users depend on the order of packages",
    r"var/lib/dpkg/.*": "dpkg's own books: order of configuration, states of triggers",
    r"var/lib/ucf/.*": "ucf's journal of the same order",
    r"etc/ld\.so\.cache": "the order in which directories were read",
    r"etc/dpkg/dpkg\.cfg\.d/.*": "the same exclusions, given in another way",
}
# Of our own making, before or after packages are configured.
OURS = {"etc/dpkg/dpkg.cfg.d/hearth", "etc/postgresql-common/createcluster.conf"}
# Of mmdebstrap's making.
THEIRS = r"etc/(apt(/.*)?|hostname|resolv\.conf|machine-id|fstab)|var/lib/apt|run/lock(/subsys)?"
# A link to the same unit by the other name of its directory: /lib is a link to /usr/lib.
OTHER_NAME = re.compile(r"^/(?:usr/)?lib/systemd/system/")


@pytest.fixture
def workplace(context: Context) -> Iterator[Path]:
    directory = context.build / "emulation"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def names(tree: Path, file: str) -> dict[int, str]:
    rows = (line.split(":") for line in (tree / "etc" / file).read_text().splitlines())
    return {int(row[2]): row[0] for row in rows}


def describe(tree: Path) -> dict[str, tuple[str, ...]]:
    """Kind, mode, owner by name, and content of everything."""
    users, groups = names(tree, "passwd"), names(tree, "group")
    found = {}
    for path in tree.rglob("*"):
        status = path.lstat()
        content = ""
        if stat.S_ISLNK(status.st_mode):
            text = os.readlink(path)  # noqa: PTH115 - the text itself, not a path
            content = OTHER_NAME.sub("/usr/lib/systemd/system/", text)
        elif stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        owner = f"{users[status.st_uid]}:{groups[status.st_gid]}"
        found[str(path.relative_to(tree))] = (oct(status.st_mode), owner, content)
    return found


def may_differ(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in EXCEPTIONS)


def test_the_tree_is_the_emulated_one(context: Context, workplace: Path) -> None:
    if debian_architecture() == context.recipe.profile.architecture:
        pytest.skip("this machine needs no emulation: both are the same commands")
    ensure_emulation(context.tools.resolve(), context.recipe.profile.architecture)
    packages = choose_packages(context)
    [ours] = sorted(context.layers.glob("packages-*"), key=lambda p: p.stat().st_mtime)[-1:]
    fast = describe(ours)
    repository, tree = workplace / "repository", workplace / "tree"
    architecture = context.recipe.profile.architecture
    make_repository(context, packages.root, repository, architecture=architecture)
    install_plainly(context, packages.root, repository, tree, architecture)
    rootfs._clean(tree)
    plain = describe(tree)
    only_fast = {name for name in fast.keys() - plain.keys() if not may_differ(name)} - OURS
    only_plain = {name for name in plain.keys() - fast.keys() if not may_differ(name)}
    only_plain = {name for name in only_plain if not re.fullmatch(THEIRS, name)}
    differ = {
        name: (fast[name], plain[name])
        for name in fast.keys() & plain.keys()
        if fast[name] != plain[name] and not may_differ(name)
    }
    assert not only_fast
    assert not only_plain
    assert not differ
    users = [sorted(names(root, "passwd").values()) for root in (ours, tree)]
    assert users[0] == users[1]
