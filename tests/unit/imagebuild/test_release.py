"""An update server's directory through its life, and an appliance that reads it."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.channelindex import CRL_NAME
from appliance.errors import (
    ConfigError,
    SignatureError,
    StateError,
)
from appliance.release import Release, Rollout
from appliance.signed import verify
from imagebuild.__main__ import main
from imagebuild.imager import ENTRY, LISTS, TAGS
from imagebuild.indexes import pruned
from imagebuild.keys import init_root, new_release_key, revoke
from imagebuild.recipe import load_boards
from imagebuild.release import Publisher, init_site
from imagebuild.signer import Signer as ReleaseSigner
from imagebuild.site import Site
from unit.bundles import make_bundle
from unit.imagebuild.office import BETA, STABLE, URL, Office
from unit.services.channel_files import DAY, NOW, Appliance, a_release, make_appliance
from unit.signing import Root, Signer
from unit.static_server import serving


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


def test_dry_run_writes_nothing(office: Office, image: Path) -> None:
    before = office.files()
    bundle = office.bundle("1.2")
    index = office.publisher(dry_run=True).publish(BETA, bundle, notes="", percent=5, image=image)
    assert [one.facts.version for one in index.releases] == ["1.2"]
    assert office.files() == before


def test_numbers_grow_also_when_the_site_was_lost(office: Office, tmp_path: Path) -> None:
    before = office.publish("1.1")
    again = office.publisher().change_rollout(BETA, "1.1", percent=5)
    assert again.sequence > before.sequence
    shutil.rmtree(office.site.directory)
    _, indexes = init_site(office.site.directory, URL, office.publisher)
    assert all(index.sequence > again.sequence for index in indexes)
    behind = replace(office.publisher(), now=NOW - 400)
    assert behind.resign(BETA)[0].sequence == indexes[0].sequence + 1


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
