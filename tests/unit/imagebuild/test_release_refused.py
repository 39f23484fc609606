"""What is not published, and a directory that stays whole whatever happens to its publisher."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.channelindex import MAX_NOTES
from appliance.errors import (
    ConfigError,
    ConflictError,
    HearthError,
    SignatureError,
    StateError,
    UsageError,
)
from imagebuild.bundlefile import read_bundle
from unit.imagebuild.office import BETA, STABLE, Office
from unit.services.channel_files import DAY, NOW
from unit.signing import Signer, make_root


def test_a_bad_bundle_changes_nothing(office: Office, tmp_path: Path) -> None:
    stranger = make_root(tmp_path / "stranger", "Another root")
    before = office.files()
    for signer in (
        stranger.release("release"),
        office.root.release("over", begins=-9 * DAY, days=2),
    ):
        with pytest.raises(SignatureError):
            office.publisher().publish(
                BETA, office.bundle("1.1", signer), notes="", percent=100, image=None
            )
    good = office.bundle("1.1")
    good.write_bytes(good.read_bytes()[:-1])
    with pytest.raises(HearthError):
        office.publisher().publish(BETA, good, notes="", percent=100)
    assert office.files() == before


@pytest.mark.parametrize("percent", [-1.0, 100.5, float("nan"), float("inf")])
def test_a_share_that_is_none(office: Office, percent: float) -> None:
    before = office.files()
    with pytest.raises(UsageError, match="no share"):
        office.publish("1.1", percent=percent)
    assert office.files() == before


def test_notes_that_would_fill_every_appliance(office: Office) -> None:
    with pytest.raises(StateError, match="characters"):
        office.publish("1.1", notes="x" * (MAX_NOTES + 1))


def test_a_key_that_ends_before_the_index_signs_none(office: Office) -> None:
    office.key = office.root.release("short", days=30)
    before = office.files()
    with pytest.raises(SignatureError, match="was valid until"):
        office.publisher().resign(STABLE)
    assert office.files() == before
    office.publisher(days=20).resign(STABLE)


def test_key_and_certificate_of_two_pairs(office: Office) -> None:
    office.key = Signer(office.key.certificate, office.root.release("other").key)
    with pytest.raises(ConfigError, match="cannot sign"):
        office.publisher().resign(STABLE)


def test_a_stranger_in_the_directory_is_noticed(office: Office, tmp_path: Path) -> None:
    root = make_root(tmp_path / "strangers", "Another root")
    root.release("release")
    stranger = Office(tmp_path / "stranger", root)
    stranger.publish("6.6", STABLE)
    shutil.copy(stranger.site.index_file(STABLE), office.site.index_file(STABLE))
    for act in (lambda: office.publisher().resign(STABLE), lambda: office.publish("1.1", STABLE)):
        with pytest.raises(SignatureError):
            act()


def test_a_clock_that_was_set_back_signs_nothing(office: Office) -> None:
    before = office.files()
    with pytest.raises(StateError, match="signed at"):
        replace(office.publisher(), now=NOW - 2 * DAY).resign(BETA)
    assert office.files() == before


def test_never_two_at_once(office: Office) -> None:
    with office.site.lock(), pytest.raises(ConflictError):
        office.publisher().resign(STABLE)
    office.publisher().resign(STABLE)


def test_an_interrupted_copy_is_no_file(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = office.bundle("1.1")

    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:1000])
        raise OSError(28, "No space left on device")

    before = office.files()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(OSError, match="No space"):
            office.publisher().publish(BETA, bundle, notes="", percent=100)
    assert office.files() == before
    office.publisher().publish(BETA, bundle, notes="", percent=100)
    assert office.versions(BETA) == ["1.1"]


def test_an_image_that_is_damaged_or_anothers(office: Office, image: Path, tmp_path: Path) -> None:
    before = office.files()
    with pytest.raises(ConfigError, match=r"of 1\.1"):
        office.publish("1.1", image=image)
    image.write_bytes(image.read_bytes()[:-20])
    with pytest.raises(HearthError, match="damaged"):
        office.publish("1.2", image=image)
    assert office.files() == before


class Cut(BaseException):
    """The power goes: nothing may catch it."""


@pytest.mark.parametrize("count", range(7))
def test_cut_off_anywhere_the_site_is_whole(
    office: Office, image: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Bundle, image, block map, entry, index, Imager's list: cut before the nth takes its place."""
    office.publish("1.1")
    bundle = office.bundle("1.2")
    left = count
    real = os.replace

    def cut_before(source: object, target: object) -> None:
        nonlocal left
        if left == 0:
            raise Cut
        left -= 1
        real(source, target)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, suppress(Cut):
        patch.setattr(os, "replace", cut_before)
        office.publisher().publish(BETA, bundle, notes="", percent=100, image=image)
    is_out = count > 4
    assert office.versions(BETA) == (["1.2", "1.1"] if is_out else ["1.1"])
    for version in office.versions(BETA):
        read_bundle(office.site.release_directory(version) / f"hearth-{version}-arm64.raucb",
                    office.root.keyring)  # fmt: skip
    if not is_out:
        office.publisher().publish(BETA, bundle, notes="", percent=100, image=image)
    office.publisher().resign(BETA)
    assert (
        json.loads(office.site.imager_file(BETA).read_text())["os_list"][0]["name"] == "Hearth 1.2"
    )
