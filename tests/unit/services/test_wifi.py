"""What wpa_supplicant itself makes of our configuration. No radio is needed for that."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.run import run
from services.wifi import Wifi, raw_key, write_wifi

PROGRAM = shutil.which("wpa_supplicant", path="/usr/sbin:/sbin:/usr/bin")


def parsed(tmp_path: Path, wifi: Wifi, country: str = "") -> str:
    """wpa_supplicant's account of what it has read; it ends because there is no such interface."""
    if PROGRAM is None:
        pytest.skip("wpasupplicant is not installed")
    paths = Paths(tmp_path)
    paths.runtime.mkdir(parents=True)
    write_wifi(paths, wifi, country)
    file = paths.runtime / "wifi.conf"
    assert file.stat().st_mode & 0o777 == 0o600
    argv = [PROGRAM, "-D", "wired", "-i", "nosuch0", "-c", file, "-dd", "-K"]
    said = run(argv, check=False, timeout=20).stdout
    assert "nosuch0: Failed to initialize driver interface" in said
    assert "failed to parse" not in said
    return said


def shown(said: str, label: str) -> bytes:
    """A secret of its debugging output, in hexadecimal there."""
    found = re.search(rf"{re.escape(label)}.*?\(len=(\d+)\):((?: [0-9a-f]{{2}})*)", said, re.S)
    assert found is not None, said
    return bytes.fromhex(found[2])


@pytest.mark.parametrize("key", ["eight letters", "pass # word\\", "}network={", "'$(reboot)'"])
def test_a_passphrase(tmp_path: Path, key: str) -> None:
    said = parsed(tmp_path, Wifi(ssid=b"Hut".hex(), key=key), "DE")
    assert "country='DE'" in said
    assert "ssid='Hut'" in said
    assert key in said or key.encode().hex(" ") in said
    assert "key_mgmt: 0x502" in said  # WPA2, WPA2 with SHA-256, WPA3
    assert "sae_pwe=2" in said


@pytest.mark.parametrize("key", ['12345678"rest of it', 'quote " and # sign', '#"#"#"#"'])
def test_a_passphrase_with_a_quotation_mark(tmp_path: Path, key: str) -> None:
    wifi = Wifi(ssid=b"Hut".hex(), key=key)
    said = parsed(tmp_path, wifi)
    assert shown(said, "PSK - hexdump").hex() == raw_key(wifi)
    assert f"sae_password - hexdump_ascii(len={len(key)})" in said
    assert key[:16].encode().hex(" ") in said
    assert "key_mgmt: 0x502" in said


def test_a_key_for_a_hidden_network_whose_name_is_no_text(tmp_path: Path) -> None:
    said = parsed(tmp_path, Wifi(ssid="ff00fe", key="AB" * 32, hidden=True))
    assert shown(said, "PSK - hexdump") == b"\xab" * 32
    assert "ssid='\\xff\\x00\\xfe'" in said
    assert "scan_ssid=1" in said


def test_an_open_network(tmp_path: Path) -> None:
    said = parsed(tmp_path, Wifi(ssid=b"Cafe".hex()))
    assert "key_mgmt: 0x4" in said
    assert "PSK" not in said


def test_the_key_is_the_standards() -> None:
    """IEEE 802.11-2020 annex J.4.2, the second test vector."""
    wifi = Wifi(ssid=b"ThisIsASSID".hex(), key="ThisIsAPassword")
    assert raw_key(wifi) == "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"
