"""`hearth flash` as a person runs it, on real block devices of the kernel's."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.errors import (
    DiskError,
    DiskFaultError,
    HashMismatchError,
    HearthError,
    PrivilegeError,
)
from appliance.layout import GIB, MIB
from appliance.run import run
from imagebuild.__main__ import main
from unit.imagebuild.flashing import BLOCK, MAPPED, SIZE, make_content, make_image, render_bmap
from unit.imagebuild.program import NOBODY

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root, loop devices"
)
CONTENT = make_content()


@contextmanager
def loop_on(backing: Path, *options: str) -> Iterator[Path]:
    loop = Path(run(["losetup", "--find", "--show", *options, backing]).stdout.strip())
    try:
        yield loop
    finally:
        run(["losetup", "--detach", loop])


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Path]:
    """16 GiB that take no room."""
    backing = tmp_path / "card"
    backing.touch()
    os.truncate(backing, 16 * GIB)
    with loop_on(backing) as loop:
        yield loop


@pytest.fixture
def flash(monkeypatch: pytest.MonkeyPatch):
    def call(disk: Path, image: Path, *options: str) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{disk.name}\n"))
        return main(["flash", os.fspath(image), "--disk", os.fspath(disk), *options])

    return call


def test_an_image_is_flashed(card: Path, tmp_path: Path, flash, capsys) -> None:
    assert flash(card, make_image(tmp_path, CONTENT, packed="xz")) == 0
    with card.open("rb") as disk:
        content = disk.read(SIZE)
    for first, last in MAPPED:
        assert (
            content[first * BLOCK : (last + 1) * BLOCK]
            == CONTENT[first * BLOCK : (last + 1) * BLOCK]
        )
    assert "checked: it may be taken out now" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(card: Path, tmp_path: Path, flash, capsys) -> None:
    assert flash(card, make_image(tmp_path, CONTENT), "--dry-run") == 0
    out = capsys.readouterr().out
    assert "nothing was written" in out
    assert "MB to write, by its block map" in out
    assert (tmp_path / "card").stat().st_blocks == 0


def check_refused(
    status: int, capsys: pytest.CaptureFixture[str], kind: type[HearthError], words: str
) -> None:
    said = capsys.readouterr().err
    assert status == kind.exit_code, said
    assert words in said
    assert " hint: " in said


def test_a_mounted_disk(card: Path, tmp_path: Path, flash, capsys) -> None:
    run(["mke2fs", "-q", "-F", card, "8m"])
    place = tmp_path / "with a space"
    place.mkdir()
    run(["mount", card, place])
    try:
        status = flash(card, make_image(tmp_path, CONTENT))
        check_refused(status, capsys, DiskError, f"{card.name} is mounted at {place}")
    finally:
        run(["umount", place])


def test_a_disk_that_is_mounted_where_we_cannot_see(
    card: Path, tmp_path: Path, flash, capsys
) -> None:
    run(["mke2fs", "-q", "-F", card, "8m"])
    script = f"mount {card} /mnt && echo mounted && read -r line"
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mounted\n"
        status = flash(card, make_image(tmp_path, CONTENT))
        other.communicate("\n", timeout=10)
    check_refused(status, capsys, DiskError, "is in use by this computer")
    run(["e2fsck", "-fn", card])


def test_swap_space(card: Path, tmp_path: Path, flash, capsys) -> None:
    run(["mkswap", card])
    run(["swapon", card])
    try:
        status = flash(card, make_image(tmp_path, CONTENT))
    finally:
        run(["swapoff", card])
    check_refused(status, capsys, DiskError, "is swap space of this computer")


def test_a_disk_under_a_loop_device(card: Path, tmp_path: Path, flash, capsys) -> None:
    with loop_on(card) as upper:
        status = flash(card, make_image(tmp_path, CONTENT))
    check_refused(status, capsys, DiskError, f"{upper.name} is a loop device on it")


def test_the_disk_of_this_computer(tmp_path: Path, flash, capsys) -> None:
    root = run(["findmnt", "--noheadings", "--output", "SOURCE", "/"]).stdout.strip()
    if not root.startswith("/dev/"):
        pytest.skip("the root file system is not on a disk")
    parent = run(["lsblk", "--noheadings", "--output", "PKNAME", root]).stdout.split()
    disk = Path("/dev", parent[0]) if parent else Path(root)
    status = flash(disk, make_image(tmp_path, CONTENT), "--dry-run")
    check_refused(status, capsys, DiskError, "of this computer")


def test_a_small_card(tmp_path: Path, flash, capsys) -> None:
    (tmp_path / "card").write_bytes(b"")
    os.truncate(tmp_path / "card", 8 * GIB)
    with loop_on(tmp_path / "card") as loop:
        status = flash(loop, make_image(tmp_path, CONTENT))
    check_refused(status, capsys, DiskError, "8.6 GB; Hearth needs a card of 16 GB")


def test_a_write_protected_card(tmp_path: Path, flash, capsys) -> None:
    (tmp_path / "card").write_bytes(b"")
    os.truncate(tmp_path / "card", 16 * GIB)
    with loop_on(tmp_path / "card", "--read-only") as loop:
        status = flash(loop, make_image(tmp_path, CONTENT))
    check_refused(status, capsys, DiskError, "write-protected")


def test_a_card_that_takes_no_more(tmp_path: Path, flash, capsys) -> None:
    """A disk whose medium is full or broken: here a file on a file system without room."""
    place = tmp_path / "small"
    place.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", place])
    try:
        (place / "card").write_bytes(b"")
        os.truncate(place / "card", 16 * GIB)
        with loop_on(place / "card") as loop:
            status = flash(loop, make_image(tmp_path, CONTENT))
        check_refused(status, capsys, DiskFaultError, f"{loop.name} could not be written at 0.00")
    finally:
        run(["umount", place])


def test_an_image_that_is_not_its_block_maps(card: Path, tmp_path: Path, flash, capsys) -> None:
    image = make_image(tmp_path, CONTENT, packed="xz")
    image.with_name("hearth-1.2.3-arm64.bmap").write_text(render_bmap(make_content()))
    check_refused(flash(card, image), capsys, HashMismatchError, "is not the image that")
    with card.open("rb") as disk:
        assert disk.read(MIB) == bytes(MIB)  # it starts nothing


def test_a_user_without_the_right_to(card: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hearth-") as directory:
        Path(directory).chmod(0o755)
        image = make_image(Path(directory), CONTENT)
        result = subprocess.run(
            [*NOBODY, sys.executable, "-m", "imagebuild", "flash", image, "--disk", card],
            env={**os.environ, "PYTHONPATH": ":".join(sys.path), "HOME": directory},
            input=f"{card.name}\n", capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert result.returncode == PrivilegeError.exit_code, result.stderr
    assert f"error: {card} may not be written by this user\n hint: " in result.stderr
