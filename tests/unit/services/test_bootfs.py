from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.errors import StateError
from appliance.paths import Paths
from appliance.run import run
from services.bootfs import finish_write, read_file, remove_file, write_file

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounts need root")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.bootfs.mkdir(parents=True)
    return made


def is_read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def test_write_read_remove(paths: Paths) -> None:
    assert read_file(paths, "a.txt") is None
    write_file(paths, "a.txt", "hello\n")
    assert read_file(paths, "a.txt") == "hello\n"
    assert [path.name for path in paths.bootfs.iterdir()] == ["a.txt"]
    remove_file(paths, "a.txt")
    remove_file(paths, "a.txt")
    assert not list(paths.bootfs.iterdir())


def test_the_same_text_is_not_written_again(paths: Paths) -> None:
    write_file(paths, "a.txt", "hello\n")
    before = (paths.bootfs / "a.txt").stat()
    write_file(paths, "a.txt", "hello\n")
    assert (paths.bootfs / "a.txt").stat().st_ino == before.st_ino


def test_a_missing_bootfs_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be written"):
        write_file(Paths(tmp_path), "a.txt", "x")


@needs_root
def test_it_is_writable_only_for_the_moment(paths: Paths) -> None:
    run(["mount", "-t", "tmpfs", "-o", "ro", "none", paths.bootfs])
    try:
        assert is_read_only(paths.bootfs)
        write_file(paths, "a.txt", "hello\n")
        assert read_file(paths, "a.txt") == "hello\n"
        assert is_read_only(paths.bootfs)
        remove_file(paths, "a.txt")
        assert not list(paths.bootfs.iterdir())
        assert is_read_only(paths.bootfs)
    finally:
        run(["umount", paths.bootfs])


def test_a_cut_after_the_new_file_is_whole_is_made_good(paths: Paths) -> None:
    old = paths.bootfs / "a.toml"
    old.write_bytes(b"secret"[:3] + bytes(3))  # the overwriting was cut
    (paths.bootfs / "clusters").hardlink_to(old)
    (paths.bootfs / "a.toml.new").write_text("new\n")
    assert read_file(paths, "a.toml") == "new\n"
    finish_write(paths, "a.toml")
    assert read_file(paths, "a.toml") == "new\n"
    assert (paths.bootfs / "clusters").read_bytes() == bytes(6)
    assert not (paths.bootfs / "a.toml.new").exists()
    finish_write(paths, "a.toml")
    assert old.read_text() == "new\n"
