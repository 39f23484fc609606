"""The built image, taken apart once without booting or mounting it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.layout import BOOTFS, SLOT_A
from imagebuild.context import Context
from imagebuild.sandbox import inside
from imagebuild.vm import tool

# debugfs's `ls -l`: inode, octal mode, type, owner, group, size, date, name.
ENTRY = re.compile(r"^\s*\d+\s+(\d+) \(\d+\)\s+(\d+)\s+(\d+)\s+(\d+)\s+\S+ \S+ (.+)$")


@dataclass(frozen=True)
class Entry:
    """What ext4 says of one file; ``mode`` with the type's and the set-id bits."""

    mode: int
    uid: int
    gid: int
    size: int


Tool = Callable[..., str]


@pytest.fixture(scope="session")
def workshop(context: Context) -> Iterator[Path]:
    """build/image-tests, one for each process that runs tests: gone after them."""
    if os.geteuid() != 0:
        pytest.fail("the image tier needs root: files keep their owners when they are taken out")
    process = os.environ.get("PYTEST_XDIST_WORKER", "main")
    directory = context.build / f"image-tests-{process}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def run_tool(tools: Path) -> Tool:
    """A program of the tools tree on this machine's files; returns its output."""

    def start(name: str, *argv: object, codes: tuple[int, ...] = (0,)) -> str:
        result = subprocess.run(
            [*tool(tools, name), *map(str, argv)],
            capture_output=True, text=True, errors="replace", check=False,
            env={"PATH": "/usr/bin:/bin", "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        assert result.returncode in codes, f"{name}: {result.stdout}{result.stderr}"
        return result.stdout

    return start


@pytest.fixture(scope="session")
def slot_device(context: Context) -> str:
    """Slot A as the e2fsprogs address a file system inside a file."""
    return f"{context.raw_image}?offset={SLOT_A.start}"


@pytest.fixture(scope="session")
def slot(workshop: Path, slot_device: str, run_tool: Tool) -> Path:
    """The slot's files, with owners, but without set-id bits (``entries`` has those)."""
    target = workshop / "slot"
    target.mkdir()
    run_tool("debugfs", "-R", f"rdump / {target}", slot_device)
    return target


@pytest.fixture(scope="session")
def entries(workshop: Path, slot: Path, slot_device: str, run_tool: Tool) -> dict[str, Entry]:
    """Every path of the slot, without a leading slash."""
    directories = ["", *(f"{path.relative_to(slot)}" for path in sorted(slot.rglob("*"))
                         if path.is_dir() and not path.is_symlink())]  # fmt: skip
    script = workshop / "ls.debugfs"
    script.write_text("".join(f'ls -l "/{name}"\n' for name in directories))
    found: dict[str, Entry] = {}
    directory = ""
    for line in run_tool("debugfs", "-f", script, slot_device).splitlines():
        if line.startswith("debugfs: ls -l "):
            directory = line.removeprefix("debugfs: ls -l ").strip('"').strip("/")
        elif (match := ENTRY.match(line)) and match.group(5) not in (".", ".."):
            mode, uid, gid, size, name = match.groups()
            path = f"{directory}/{name}".lstrip("/")
            found[path] = Entry(int(mode, 8), int(uid), int(gid), int(size))
    assert len(found) > 10_000
    return found


@pytest.fixture(scope="session")
def bootfs(context: Context, workshop: Path, run_tool: Tool) -> Path:
    """The files of the FAT partition."""
    target = workshop / "bootfs"
    target.mkdir()
    run_tool("mcopy", "-s", "-m", "-i", f"{context.raw_image}@@{BOOTFS.start}", "::*", target)
    return target


@pytest.fixture(scope="session")
def in_tools(context: Context, workshop: Path, slot: Path) -> Tool:
    """A shell line in the tools tree: the slot at /media, artefacts at /srv, room at /mnt."""
    sandbox = inside(
        context.tools.resolve(),
        binds=[(workshop, "/mnt")],
        read_only=[(slot, "/media"), (context.build, "/srv")],
    )

    def start(line: str, *argv: str, codes: tuple[int, ...] = (0,)) -> str:
        result = subprocess.run(
            [*sandbox, "sh", "-ec", line, "sh", *argv],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        assert result.returncode in codes, f"{line}: {result.stdout}{result.stderr}"
        return result.stdout + result.stderr

    return start


@pytest.fixture(scope="session")
def initramfs(slot: Path, workshop: Path, in_tools: Tool) -> Path:
    target = workshop / "initramfs"
    target.mkdir()
    in_tools("cd /mnt/initramfs && zstd -qdc /media/boot/initramfs | cpio -idm --quiet")
    return target
