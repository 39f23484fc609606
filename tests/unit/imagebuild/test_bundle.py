"""What `hearth bundle` decides before RAUC has its turn (tests/image has RAUC itself)."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.channelindex import MAX_NOTES
from appliance.errors import ConfigError, ImageError, UsageError
from appliance.layout import MIB, SLOT_A
from appliance.release import ReleaseFacts, from_meta
from imagebuild.bundle import (
    Signing,
    SlotImage,
    check_signing,
    check_target,
    file_system_size,
    read_notes,
    render_manifest,
)
from imagebuild.sparse import copy_part

FACTS = ReleaseFacts(version="1.2.3", boards=("rpi3", "rpi4"), synapse_schema=94)


def make_image(path: Path, size: int = 16 * MIB, options: tuple[str, ...] = ()) -> Path:
    """Only a slot, at its place in an image."""
    program = shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip("mke2fs is not installed (package e2fsprogs)")
    slot = path.with_suffix(".slot")
    subprocess.run([program, "-q", "-t", "ext4", *options, slot, f"{size // 1024}k"], check=True)
    with path.open("wb") as file:
        file.truncate(SLOT_A.start + (SLOT_A.size or 0))
        file.seek(SLOT_A.start)
        file.write(slot.read_bytes())
    slot.unlink()
    return path


@pytest.mark.parametrize("size", [16 * MIB, 128 * MIB])
def test_the_slots_size_is_its_file_systems(tmp_path: Path, size: int) -> None:
    image = make_image(tmp_path / "x.img", size, ("-b", "4096"))
    assert file_system_size(image, SLOT_A.start) == size


def test_a_file_system_of_half_blocks_is_refused(tmp_path: Path) -> None:
    """RAUC's index is of 4 KiB blocks; one of 1 KiB may end in the middle of one."""
    image = make_image(tmp_path / "x.img", 16 * MIB + 1024, ("-b", "1024"))
    with pytest.raises(ImageError, match="cut short or damaged"):
        file_system_size(image, SLOT_A.start)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", 16 * MIB, ("-b", "4096"))
    with image.open("r+b") as file:
        file.truncate(SLOT_A.start + 8 * MIB)
    with pytest.raises(ImageError, match="cut short"):
        file_system_size(image, SLOT_A.start)
    for content in (b"", b"\x28\xb5\x2f\xfd", os.urandom(4096)):
        (tmp_path / "y").write_bytes(content)
        with pytest.raises(ImageError, match="no slot"):
            file_system_size(tmp_path / "y", SLOT_A.start)
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ImageError, match="cannot be read") as caught:
            file_system_size(path, SLOT_A.start)
        assert caught.value.hint


def test_a_part_is_copied_with_its_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(64 * MIB)
        for at in (0, 9 * MIB - 5, 20 * MIB + 1, 40 * MIB - 3):
            file.seek(at)
            file.write(os.urandom(10_000))
    copy_part(source, 9 * MIB, 31 * MIB, target)
    assert target.read_bytes() == source.read_bytes()[9 * MIB : 40 * MIB]
    assert target.stat().st_blocks * 512 < MIB
    copy_part(source, 50 * MIB, 5 * MIB, target)
    assert target.read_bytes() == bytes(5 * MIB)


def test_the_manifest_says_what_the_slot_says() -> None:
    manifest = configparser.ConfigParser(interpolation=None)
    manifest.read_string(render_manifest(FACTS))
    assert from_meta(dict(manifest["meta.hearth"])) == FACTS
    assert manifest["update"]["version"] == FACTS.version
    assert manifest["update"]["compatible"] == FACTS.compatible
    assert manifest["bundle"]["format"] == "verity"
    assert manifest["image.rootfs"]["adaptive"] == "block-hash-index"


def test_notes_are_plain_text(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert read_notes(None) == ""
    notes.write_text("  New: über\n\t- faster\n")
    assert read_notes(notes) == "New: über\n\t- faster"
    for content in (b"\xff\xfe", b"bell \x07", b"escape \x1b[31m", b"x" * (MAX_NOTES + 1)):
        notes.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            read_notes(notes)
        assert caught.value.hint
    with pytest.raises(ConfigError, match="cannot be read"):
        read_notes(tmp_path / "nothing")


def test_own_keys_sign_no_release(tmp_path: Path) -> None:
    for name in ("crt", "key", "pem"):
        (tmp_path / name).write_text("")
    signing = Signing(
        certificate=f"{tmp_path}/crt", key=f"{tmp_path}/key", keyring=tmp_path / "pem"
    )
    released = SlotImage(image=Path("x.img"), size=1, facts=FACTS, is_development=False)
    check_signing(released, signing, own=False)
    with pytest.raises(UsageError, match="vouch for no release"):
        check_signing(released, signing, own=True)
    (tmp_path / "key").unlink()
    with pytest.raises(ConfigError, match="is not there"):
        check_signing(released, signing, own=False)


@pytest.mark.parametrize("name", ["", "nowhere/x.raucb", "x.img"])
def test_a_place_where_no_bundle_can_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        check_target(tmp_path / name)
    check_target(tmp_path / "x.raucb")


def test_a_token_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("")
    slot = SlotImage(image=Path("x.img"), size=1, facts=FACTS, is_development=False)
    uri = "pkcs11:token=release;object=2027"
    signing = Signing(certificate=uri, key=uri, keyring=tmp_path / "pem")
    assert signing.is_token
    check_signing(slot, signing, own=False)
