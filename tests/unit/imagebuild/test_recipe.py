"""Recipes: what is in the repository loads, what is mistyped is answered with a suggestion."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ConfigError
from imagebuild import recipe
from imagebuild.recipe import (
    IMAGE_DIR,
    Profile,
    load_board,
    load_boards,
    load_profile,
    make_recipe,
)

# Issue 2, "Boot chain": the boards that the image starts on, by the kernel's device tree names.
BOARDS = {
    "bcm2837-rpi-3-b", "bcm2837-rpi-3-b-plus", "bcm2711-rpi-4-b", "bcm2711-rpi-400",
    "bcm2711-rpi-cm4-io", "bcm2837-rpi-zero-2-w", "bcm2712-rpi-5-b", "bcm2712-d-rpi-5-b",
}  # fmt: skip


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    """A copy of the profiles that a test may spoil."""
    shutil.copytree(IMAGE_DIR / "profiles", tmp_path / "profiles")
    return tmp_path / "profiles"


def load_spoiled(profiles: Path, old: str, new: str) -> Profile:
    path = profiles / "hearth.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return recipe._load(Profile, profiles, "hearth", "profile")


def test_all_boards_of_the_issue_are_there() -> None:
    assert {board.device_tree for board in load_boards()} == BOARDS


def test_a_board_is_named_as_its_file() -> None:
    for path in (IMAGE_DIR / "boards").glob("*.toml"):
        board = load_board(path.stem)
        assert board.name == path.stem
        assert all(size >= 512 for size in board.memory_mb)
        assert board.evidence


@pytest.mark.parametrize(
    ("name", "hint"),
    [("rpi4b", "did you mean 'rpi4'?"), ("pi5", "did you mean 'rpi5'?"), ("zzz", "known: ")],
)
def test_a_wrong_board_is_answered_with_a_near_one(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no board '{name}'") as caught:
        load_board(name)
    assert (caught.value.hint or "").startswith(hint)


def test_a_wrong_profile_is_answered_with_a_near_one() -> None:
    with pytest.raises(ConfigError, match="there is no profile 'heart'") as caught:
        make_recipe("heart")
    assert caught.value.hint == "did you mean 'hearth'?"


@pytest.mark.parametrize("name", ["../boards/rpi4", "", ".."])
def test_a_name_is_not_a_path(name: str) -> None:
    with pytest.raises(ConfigError):
        load_profile(name)


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("suite =", "suit =", "unknown key 'suit'", "did you mean 'suite'?"),
        ("[dendrite]", "[dendrit]", "unknown key 'dendrit'", "did you mean 'dendrite'?"),
        ("level = ", "levle = ", "compression: unknown key 'levle'", "did you mean 'level'?"),
        ('version = "0.1.0"', "version = 1", "version: expected str, found 1", ""),
        ('version = "0.1.0"', "", "key 'version' is missing", ""),
        ("[kernel]", "[kernel", "hearth.toml: ", ""),
    ],
)
def test_a_mistake_in_a_profile_is_named(
    profiles: Path, old: str, new: str, message: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_spoiled(profiles, old, new)
    assert message in caught.value.message
    assert "hearth.toml" in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_release_needs_a_keyring(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--keyring"):
        make_recipe("hearth", release=True)
    keyring = tmp_path / "root.pem"
    made = make_recipe("hearth", release=True, keyring=keyring)
    assert made.version == made.profile.version


def test_a_development_image_says_so_in_its_version() -> None:
    assert make_recipe("hearth").version.endswith("-dev")


def test_a_version_can_be_given() -> None:
    assert make_recipe("hearth", version="2.0").version == "2.0-dev"
    assert make_recipe("hearth", version="2.0.dev3").version == "2.0.dev3"
    made = make_recipe("hearth", version="2.0rc1", release=True, keyring=Path("k"))
    assert made.version == "2.0rc1"


@pytest.mark.parametrize("version", ["new", "1.0+mine", "1.0.dev1", "-1"])
def test_a_release_has_a_version_that_can_be_ordered(version: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_recipe("hearth", version=version, release=True, keyring=Path("k"))
    assert caught.value.hint


def test_a_minimum_that_nobody_has_is_refused() -> None:
    made = make_recipe("hearth", version="0.1.0")
    profile = replace(made.profile, minimum="0.2")
    with pytest.raises(ConfigError, match=r"minimum is 0\.2"):
        recipe._check_versions(replace(made, profile=profile))


@pytest.mark.parametrize(
    "url",
    ["updates.example.org", "ftp://example.org/", "https://", "https://a.example/?x=1",
     "https://me@a.example/", "http://a.example:99999/", "https://a.example/#top", "/srv/updates"],
)  # fmt: skip
def test_an_address_without_channels_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="no address"):
        make_recipe("hearth", update_url=url)


def test_addresses_of_channels() -> None:
    for url in ("", "https://updates.example.org/hearth", "http://192.0.2.1:8000"):
        assert make_recipe("hearth", update_url=url).update_url == url


def test_compression_can_be_chosen() -> None:
    assert make_recipe("hearth", compression="xz").profile.compression.format == "xz"
    assert make_recipe("hearth").profile.compression.format == "zst"
