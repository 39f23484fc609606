"""An update server's directory through its life, and an appliance that reads it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.channelindex import CRL_NAME, MAX_NOTES
from appliance.errors import (
    ConfigError,
    ConflictError,
    HearthError,
    SignatureError,
    StateError,
    UsageError,
)
from appliance.release import Channel, Index, Release, Rollout
from appliance.signed import verify
from imagebuild.__main__ import main
from imagebuild.bundlefile import read_bundle
from imagebuild.imager import ENTRY, LISTS, TAGS
from imagebuild.indexes import pruned
from imagebuild.keys import init_root, new_release_key, revoke
from imagebuild.recipe import load_boards
from imagebuild.release import Publisher, init_site
from imagebuild.signer import Signer as ReleaseSigner
from imagebuild.site import Site
from unit.bundles import make_bundle
from unit.services.channel_files import DAY, NOW, Appliance, a_release, make_appliance
from unit.signing import Root, Signer, make_root
from unit.static_server import serving

URL = "https://updates.example.org/hearth"
BETA, STABLE = Channel.BETA, Channel.STABLE


class Office:
    """Where releases are published."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = make_root(place / "keys")
        self.key = self.root.release("release")
        self.now = NOW
        self.site, _ = init_site(place / "site", URL, self.publisher)

    def publisher(self, site: Site | None = None, **wishes: Any) -> Publisher:
        signer = ReleaseSigner(certificate=self.key.certificate, key=str(self.key.key),
                               keyring=self.root.keyring)  # fmt: skip
        self.now += 1
        return Publisher(site=site or self.site, signer=signer, now=self.now, **wishes)

    def bundle(self, version: str, signer: Signer | None = None, **facts: object) -> Path:
        return make_bundle(self.place, version, signer or self.key, **facts)

    def publish(self, version: str, channel: Channel = BETA, *, percent: float = 100.0,
                image: Path | None = None, notes: str = "", **facts: object) -> Index:  # fmt: skip
        bundle = self.bundle(version, **facts)
        return self.publisher().publish(channel, bundle, notes=notes, percent=percent, image=image)

    def versions(self, channel: Channel) -> list[str]:
        index = self.site.load(channel, self.root.keyring)
        return [one.facts.version for one in index.releases]

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.site.directory)): hashlib.sha256(
                path.read_bytes()
            ).hexdigest()
            for path in self.site.directory.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    raw = tmp_path / "hearth-1.2-arm64.img"
    raw.write_bytes(b"an image" * 5000)
    subprocess.run(["zstd", "-q", raw], check=True)
    (tmp_path / "hearth-1.2-arm64.bmap").write_text("<bmap/>")
    return raw.with_name(f"{raw.name}.zst")


def test_from_beta_to_everybody(office: Office) -> None:
    office.publish("1.1", notes="Better.\n")
    office.publisher().promote("1.1", BETA, STABLE, 5)
    office.publisher().change_rollout(STABLE, "1.1", percent=25)
    office.publisher().change_rollout(STABLE, "1.1", paused=True)
    index = office.publisher().change_rollout(STABLE, "1.1", paused=False)
    [release] = index.releases
    assert release.rollout == Rollout(percent=25)
    assert release.notes == "Better."
    assert office.site.load(STABLE, office.root.keyring) == index


def test_an_appliance_takes_what_is_published(office: Office, tmp_path: Path) -> None:
    paths = make_appliance(tmp_path / "appliance", office.root)
    with serving(office.site.directory) as server:
        appliance = Appliance(paths, server.url)
        assert (appliance.check().error, appliance.offered) == ("", "")
        office.publish("1.1", STABLE)
        found = appliance.check(NOW + 60)
        assert (found.error, appliance.offered) == ("", "1.1")
        assert found.offer is not None
        assert found.offer.bundle.url == f"{server.url}/releases/1.1/hearth-1.1-arm64.raucb"
        bundle = office.site.directory / "releases/1.1/hearth-1.1-arm64.raucb"
        assert found.offer.bundle.sha256 == hashlib.sha256(bundle.read_bytes()).hexdigest()
        office.publisher().change_rollout(STABLE, "1.1", paused=True)
        appliance.check(NOW + 120)
        assert appliance.offered == ""
        # All through, no index was older than the one before; the last one is refused later.
        assert "ended" in appliance.check(NOW + 62 * DAY).error


def test_an_appliance_follows_from_a_stolen_key_to_the_next(office: Office, tmp_path: Path) -> None:
    paths = make_appliance(tmp_path / "appliance", office.root)
    with serving(office.site.directory) as server:
        appliance = Appliance(paths, server.url)
        office.publish("1.1", STABLE)
        old = office.key
        office.key = office.root.release("next")
        office.publish("1.2", STABLE)
        office.root.write_keyring(office.root.revoke(old))
        office.key = old
        with pytest.raises(SignatureError, match="revoked"):
            office.publisher().resign(STABLE)
        office.key = Signer(office.root.place / "next.crt", office.root.place / "next.key")
        index, left_out = office.publisher().resign(STABLE)
        assert ([one.facts.version for one in index.releases], left_out) == (["1.2", "1.1"], ())
        office.publisher().resign(BETA)
        assert (appliance.check(NOW + 60).error, appliance.offered) == ("", "1.2")


def test_what_only_the_stolen_key_vouches_for_is_left_out(office: Office) -> None:
    office.publish("1.1", STABLE)
    office.publish("1.2", STABLE)
    old, office.key = office.key, office.root.release("next")
    office.root.write_keyring(office.root.revoke(old))
    with pytest.raises(SignatureError, match="resign"):
        raise_with_hint(lambda: office.publish("1.3", STABLE))
    index, left_out = office.publisher().resign(STABLE)
    assert (index.releases, set(left_out)) == ((), {"1.1", "1.2"})
    office.publisher().resign(BETA)
    revoked = (office.site.directory / CRL_NAME).read_text()
    assert revoked in office.root.keyring.read_text()
    # The newest one signed again: the old file may be in caches under its name.
    bundle = office.bundle("1.2")
    with pytest.raises(StateError, match="another bundle") as raised:
        office.publisher().publish(STABLE, bundle, notes="", percent=100)
    assert "another name" in str(raised.value.hint)
    again = bundle.rename(bundle.with_name("hearth-1.2-again.raucb"))
    office.publisher().publish(STABLE, again, notes="", percent=100)
    assert office.versions(STABLE) == ["1.2"]


def raise_with_hint(act: Any) -> None:
    try:
        act()
    except SignatureError as error:
        raise SignatureError(f"{error.message} ({error.hint})") from error


def test_nothing_is_published_twice_or_backwards(office: Office) -> None:
    office.publish("1.1")
    office.publish("1.2")
    before = office.files()
    for version in ("1.2", "1.1", "1.0", "1.2rc1", "1.2.0"):
        with pytest.raises(StateError, match="not newer"):
            office.publish(version)
    assert office.files() == before


def test_a_version_is_one_thing_for_ever(office: Office, tmp_path: Path) -> None:
    office.publish("1.1")
    other = tmp_path / "elsewhere"
    other.mkdir()
    # Signed anew: the same release in another file.
    bundle = make_bundle(other, "1.1", office.root.release("second"))
    with pytest.raises(StateError, match=r"another 1\.1"):
        office.publisher().publish(STABLE, bundle, notes="", percent=100)
    office.site.index_file(BETA).unlink()
    with pytest.raises(StateError, match="another bundle"):
        office.publisher().publish(STABLE, bundle, notes="", percent=100)
    same = office.site.directory / "releases/1.1/hearth-1.1-arm64.raucb"
    shutil.copy(same, other / same.name)
    office.publisher().publish(STABLE, other / same.name, notes="", percent=100)
    assert office.versions(STABLE) == ["1.1"]


def test_steps_have_to_be_there(office: Office) -> None:
    office.publish("1.1")
    with pytest.raises(StateError, match="no version that leads there"):
        office.publish("3.0", minimum="2.0")
    with pytest.raises(StateError, match="comes after it"):
        office.publish("1.5", minimum="2.0")
    office.publish("2.0")
    office.publish("3.0", minimum="2.0")
    assert office.versions(BETA) == ["3.0", "2.0", "1.1"]


def test_what_is_dropped_leaves_nobody_behind() -> None:
    def release(version: str, minimum: str = "0", percent: float = 100) -> Release:
        return a_release(version, minimum=minimum, rollout=Rollout(percent=percent))

    old = [release("1.0"), release("1.1"), release("2.0"), release("2.1", "1.1")]
    new = [release(f"3.{number}", "2.1", 5) for number in range(9)]
    kept = [one.facts.version for one in pruned((*old, *new))]
    assert kept == ["3.8", "3.7", "3.6", "3.5", "3.4", "3.3", "2.1", "2.0"]


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


def test_dry_run_writes_nothing(office: Office, image: Path) -> None:
    before = office.files()
    bundle = office.bundle("1.2")
    index = office.publisher(dry_run=True).publish(BETA, bundle, notes="", percent=5, image=image)
    assert [one.facts.version for one in index.releases] == ["1.2"]
    assert office.files() == before


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
    stranger = Office(tmp_path / "stranger")
    stranger.publish("6.6", STABLE)
    shutil.copy(stranger.site.index_file(STABLE), office.site.index_file(STABLE))
    for act in (lambda: office.publisher().resign(STABLE), lambda: office.publish("1.1", STABLE)):
        with pytest.raises(SignatureError):
            act()


def test_numbers_grow_also_when_the_site_was_lost(office: Office, tmp_path: Path) -> None:
    before = office.publish("1.1")
    again = office.publisher().change_rollout(BETA, "1.1", percent=5)
    assert again.sequence > before.sequence
    shutil.rmtree(office.site.directory)
    _, indexes = init_site(office.site.directory, URL, office.publisher)
    assert all(index.sequence > again.sequence for index in indexes)
    behind = replace(office.publisher(), now=NOW - 400)
    assert behind.resign(BETA)[0].sequence == indexes[0].sequence + 1


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


def test_the_list_for_raspberry_pi_imager(office: Office, image: Path) -> None:
    office.publish("1.2", image=image, boards=("rpi3", "rpi3plus", "rpi5-d0"))
    office.publish("1.3")
    listed = json.loads(office.site.imager_file(BETA).read_text())
    [entry] = listed["os_list"]
    raw = image.with_suffix("").read_bytes()
    assert entry["name"] == "Hearth 1.2"
    assert entry["extract_size"] == len(raw)
    assert entry["extract_sha256"] == hashlib.sha256(raw).hexdigest()
    assert entry["image_download_size"] == image.stat().st_size
    assert entry["devices"] == ["pi3-64bit", "pi5-64bit"]
    for name in ("url", "bmap_url"):
        assert (office.site.directory / entry[name].removeprefix(f"{URL}/")).is_file()
    assert (office.site.directory / entry["icon"].removeprefix(f"{URL}/")).is_file()
    for name, init_format in LISTS.items():
        other = json.loads(office.site.imager_file(BETA, name).read_text())
        assert other == {"os_list": [{**entry, "init_format": init_format}]}
    office.publisher().change_rollout(BETA, "1.2", paused=True)
    for name in LISTS:
        other = json.loads(office.site.imager_file(BETA, name).read_text())
        assert other == {"os_list": []}
    assert (office.site.release_directory("1.2") / ENTRY).exists()


def test_an_image_that_is_damaged_or_anothers(office: Office, image: Path, tmp_path: Path) -> None:
    before = office.files()
    with pytest.raises(ConfigError, match=r"of 1\.1"):
        office.publish("1.1", image=image)
    image.write_bytes(image.read_bytes()[:-20])
    with pytest.raises(HearthError, match="damaged"):
        office.publish("1.2", image=image)
    assert office.files() == before


def test_imager_has_a_word_for_every_board() -> None:
    assert set(TAGS) == {board.name for board in load_boards()}


def test_the_program(office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["--keyring", str(office.root.keyring)]
    signing = [*keys, "--cert", str(office.key.certificate), "--key", str(office.key.key)]
    site = str(tmp_path / "another")
    bundle = str(office.bundle("1.1"))
    assert main(["release", "show", site, *keys]) == StateError.exit_code
    assert main(["release", "init", site, "--url", f"{URL}/", *signing]) == 0
    assert main(["release", "init", site, "--url", URL, *signing]) == StateError.exit_code
    assert main(["release", "publish", site, "--bundle", bundle, "--dry-run", *signing]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert main(["release", "publish", site, "--bundle", bundle, *signing]) == 0
    assert main(["release", "promote", site, "1.1", "--percent", "5", *signing]) == 0
    assert main(["release", "pause", site, "1.1", *signing]) == 0
    assert main(["release", "resume", site, "1.1", *signing]) == 0
    assert main(["release", "rollout", site, "1.1", "--percent", "25", *signing]) == 0
    assert main(["release", "rollout", site, "1.9", "--percent", "25", *signing]) == 11
    assert main(["release", "resign", site, *signing]) == 0
    capsys.readouterr()
    assert main(["release", "show", site, "--json", *keys]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["stable"]["releases"][0]["rollout"] == {"percent": 25.0, "paused": False}
    assert main(["release", "show", site, *keys]) == 0
    assert "25 %" in capsys.readouterr().out
    missing = [*keys, "--cert", "nowhere.crt", "--key", "nowhere.key"]
    assert main(["release", "resign", site, *missing]) == ConfigError.exit_code
    message = (Path(site) / "stable/index.cms").read_bytes()
    assert verify(message, office.root.keyring).signer == "CN=release"


def test_with_the_keys_that_hearth_keys_makes(tmp_path: Path) -> None:
    place, today = tmp_path / "keys", datetime.now(UTC)
    init_root(place, "Hearth updates", today)
    for name in ("2027", "2028"):
        new_release_key(place, name, today)

    def publisher(site: Site, name: str = "2027") -> Publisher:
        signer = ReleaseSigner(certificate=place / f"{name}.crt", key=str(place / f"{name}.key"),
                               keyring=place / "keyring.pem")  # fmt: skip
        return Publisher(site=site, signer=signer, now=time.time())

    site, _ = init_site(tmp_path / "site", URL, publisher)
    bundle = make_bundle(tmp_path, "1.1", Signer(place / "2027.crt", place / "2027.key"))
    publisher(site).publish(STABLE, bundle, notes="", percent=100)
    keys = Root(place)
    with serving(site.directory) as server:
        appliance = Appliance(make_appliance(tmp_path / "appliance", keys), server.url)
        assert (appliance.check(time.time()).error, appliance.offered) == ("", "1.1")
        revoke(place, "2027", today)
        publisher(site, "2028").resign(BETA)  # brings the list
        found = appliance.check(time.time())
        assert ("revoked" in found.error, appliance.offered) == (True, "")
        assert publisher(site, "2028").resign(STABLE)[1] == ("1.1",)
        assert (appliance.check(time.time()).error, appliance.offered) == ("", "")


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
