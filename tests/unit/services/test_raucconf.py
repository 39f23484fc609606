"""RAUC's configuration as the appliance renders it, and the cage that it runs in."""

from __future__ import annotations

import configparser
import datetime
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from appliance.errors import ConfigError, StateError
from appliance.paths import Paths
from appliance.persistence import PERSISTED
from appliance.release import COMPATIBLE
from imagebuild.keys import init_root
from services.update.raucconf import write_rauc_files
from unit.services.appliance_files import OVERLAY

DROP_IN = OVERLAY / "etc/systemd/system/rauc.service.d/hearth.conf"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """An appliance that has booted from a card, with a keyring in its slot."""
    made = Paths(tmp_path / "root")
    made.runtime.mkdir(parents=True)
    made.boot_report.write_text("slot=B\ndisk=/dev/mmcblk0\ndata=ok\n")
    made.templates.parent.mkdir(parents=True)
    made.templates.symlink_to(OVERLAY / "usr/share/hearth/templates")
    init_root(tmp_path / "keys", "Test", datetime.datetime.now(datetime.UTC))
    keyring = made.root / "usr/share/hearth/update/keyring.pem"
    keyring.parent.mkdir()
    keyring.write_bytes((tmp_path / "keys/keyring.pem").read_bytes())
    return made


def read(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.read_string(path.read_text())
    return parser


def test_slots_are_those_of_the_disk_that_was_booted(paths: Paths) -> None:
    table = read(write_rauc_files(paths))
    assert table["slot.rootfs.0"]["device"] == "/dev/mmcblk0p2"
    assert table["slot.rootfs.1"]["device"] == "/dev/mmcblk0p3"
    assert [table[f"slot.rootfs.{n}"]["bootname"] for n in (0, 1)] == ["A", "B"]
    paths.boot_report.write_text("slot=A\ndisk=/dev/vda\ndata=ok\n")
    table = read(write_rauc_files(paths))
    assert table["slot.rootfs.1"]["device"] == "/dev/vda3"


def test_what_rauc_must_insist_on(paths: Paths) -> None:
    table = read(write_rauc_files(paths))
    system, keyring = table["system"], table["keyring"]
    assert system["compatible"] == COMPATIBLE
    assert system["bundle-formats"] == "verity"
    assert system["bootloader"] == "custom"
    assert system["activate-installed"] == "false"
    assert keyring["check-crl"] == keyring["use-bundle-signing-time"] == "true"
    assert keyring["check-purpose"] == "codesign"
    written = paths.root / keyring["path"].lstrip("/")
    assert b"BEGIN X509 CRL" in written.read_bytes()
    backend = table["handlers"]["bootloader-custom-backend"]
    assert (OVERLAY / backend.lstrip("/")).stat().st_mode & 0o111
    # An installation that is asked for twice is RAUC's business; per-slot status would write slots.
    assert "statusfile" not in system


def test_what_rauc_remembers_survives_a_reboot(paths: Paths) -> None:
    place = read(write_rauc_files(paths))["system"]["data-directory"]
    assert place.removeprefix("/data/") in {row.path for row in PERSISTED}


def test_without_a_booted_disk_nothing_is_written(paths: Paths) -> None:
    paths.boot_report.unlink()
    with pytest.raises(StateError):
        write_rauc_files(paths)
    assert not (paths.root / "run/rauc/system.conf").exists()


def test_without_a_keyring_nothing_is_written(paths: Paths) -> None:
    (paths.root / "usr/share/hearth/update/keyring.pem").unlink()
    with pytest.raises(ConfigError):
        write_rauc_files(paths)
    assert not (paths.root / "run/rauc/system.conf").exists()


def test_the_drivers_that_the_cage_names_are_loaded_before_it(paths: Paths) -> None:
    """DeviceAllow=block-nbd means nothing while no driver of that name is there."""
    text = DROP_IN.read_text()
    [wants] = re.findall(r"^Wants=(.*)$", text, flags=re.M)
    [after] = re.findall(r"^After=(.*)$", text, flags=re.M)
    assert wants == after
    loaded = set(re.findall(r"modprobe@(\w+)\.service", wants))
    assert loaded == {"loop", "nbd", "dm_mod", "dm_verity", "squashfs"}
    allowed = set(re.findall(r"^DeviceAllow=(\S+) rw$", text, flags=re.M))
    assert {"block-loop", "block-nbd", "block-device-mapper", "/dev/mapper/control"} <= allowed


def test_only_root_may_talk_to_rauc() -> None:
    policy = ET.parse(OVERLAY / "usr/share/dbus-1/system.d/de.pengutronix.rauc.conf").getroot()
    rules = {
        next(iter(part.attrib.values())): [(r.tag, *r.attrib) for r in part] for part in policy
    }
    assert rules["default"] == [("deny", "send_destination")]
    assert ("allow", "send_destination") in rules["root"]
    assert ("allow", "own") in rules["root"]
