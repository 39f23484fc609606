"""Downloads by hash from a real HTTP server, and the lock file."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ConfigError, HashMismatchError, NetworkError
from imagebuild.context import Context, make_context
from imagebuild.packages import PackageSet, download, load_lock, save_lock
from imagebuild.recipe import SOURCE, make_recipe
from unit.imagebuild.mirror import Mirror, make_deb, running_mirror


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with running_mirror() as found:
        yield found


@pytest.fixture
def build(tmp_path: Path, mirror: Mirror) -> Context:
    recipe = make_recipe("hearth", mirror=mirror.uri)
    return make_context(recipe, build=tmp_path / "build", cache=tmp_path / "cache")


def stored(build: Context) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in build.debs.iterdir()}


def test_packages_are_fetched_once(build: Context, mirror: Mirror, tmp_path: Path) -> None:
    package, content = make_deb(tmp_path, "one")
    other, other_content = make_deb(tmp_path, "two")
    mirror.files = {package.filename: content, other.filename: other_content}
    download(build, [package, other])
    assert stored(build) == {
        "one_1%3a2-3_all.deb": content,  # as apt names it in its cache
        "two_1%3a2-3_all.deb": other_content,
    }
    subprocess.run(
        ["dpkg-deb", "--info", build.debs / package.deb], check=True, capture_output=True
    )
    asked = len(mirror.requests)
    download(build, [package, other])
    assert len(mirror.requests) == asked


def test_the_security_archive_is_asked_for_what_the_main_one_does_not_have(
    build: Context, mirror: Mirror, tmp_path: Path
) -> None:
    package, content = make_deb(tmp_path, "one")
    mirror.files = {f"/debian-security/{package.filename}": content}
    download(build, [package])
    assert stored(build) == {package.deb: content}


def test_a_version_that_no_mirror_has_any_more(
    build: Context, mirror: Mirror, tmp_path: Path
) -> None:
    package, _ = make_deb(tmp_path, "one")
    with pytest.raises(NetworkError, match="no mirror has it any more") as caught:
        download(build, [package])
    assert len(mirror.requests) == 2
    assert "hearth lock" in (caught.value.hint or "")


@pytest.mark.parametrize("at", [0, 70, -1])
def test_a_tampered_package_is_refused_and_not_kept(
    build: Context, mirror: Mirror, tmp_path: Path, at: int
) -> None:
    package, content = make_deb(tmp_path, "one")
    tampered = bytearray(content)
    tampered[at] ^= 1
    mirror.files = {package.filename: bytes(tampered)}
    with pytest.raises(HashMismatchError, match=r"one_1%3a2-3_all\.deb") as caught:
        download(build, [package])
    assert caught.value.hint
    assert stored(build) == {}
    mirror.files = {package.filename: content}
    download(build, [package])
    assert stored(build) == {package.deb: content}


def test_a_truncated_package_is_refused(build: Context, mirror: Mirror, tmp_path: Path) -> None:
    package, content = make_deb(tmp_path, "one")
    mirror.files = {package.filename: content[: len(content) // 2]}
    with pytest.raises(HashMismatchError):
        download(build, [package])
    assert stored(build) == {}


def test_a_broken_mirror_is_named(build: Context, mirror: Mirror, tmp_path: Path) -> None:
    package, content = make_deb(tmp_path, "one")
    mirror.files = {package.filename: content}
    mirror.status = 503
    with pytest.raises(NetworkError, match=r"cannot download one 1:2-3: 503 Server Error"):
        download(build, [package])


def test_a_mirror_that_does_not_answer(tmp_path: Path) -> None:
    with running_mirror() as gone:
        uri = gone.uri
    recipe = make_recipe("hearth", mirror=uri)
    build = make_context(recipe, build=tmp_path / "build", cache=tmp_path / "cache")
    package, _ = make_deb(tmp_path, "one")
    with pytest.raises(NetworkError, match="cannot download one") as caught:
        download(build, [package])
    assert "hearth lock" in (caught.value.hint or "")


def test_a_lock_file_comes_back_and_changes_by_lines(tmp_path: Path) -> None:
    packages = [make_deb(tmp_path, name)[0] for name in ("aa", "bb", "cc")]
    whole = PackageSet(root=tuple(packages[:2]), boot=(packages[2],), kernel_release="7.3-arm64")
    path = tmp_path / "lock"
    save_lock(whole, path)
    assert load_lock(path) == whole
    before = path.read_text().splitlines()
    save_lock(replace(whole, root=(packages[0], replace(packages[1], version="2"))), path)
    after = path.read_text().splitlines()
    assert len(before) == len(after)
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def test_without_a_lock_file_the_hint_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no lock file hearth\.lock") as caught:
        load_lock(tmp_path / "hearth.lock")
    assert "hearth lock" in (caught.value.hint or "")


def test_the_lock_of_the_repository_is_complete() -> None:
    lock = load_lock(SOURCE / "image/hearth.lock")
    names = {package.name for package in lock.root}
    profile = make_recipe("hearth").profile
    assert set(profile.packages) <= names
    assert not set(profile.without) & names
    assert {"libc6", "dpkg", "base-files", "bash"} <= names
    boot = {package.name for package in lock.boot}
    assert f"linux-modules-{lock.kernel_release}" in boot
    assert all(len(package.sha256) == 64 and package.size > 0 for package in lock.root)
    assert all("://" not in package.filename for package in (*lock.root, *lock.boot))
