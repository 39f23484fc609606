"""Files of older Imagers, and files that were written by hand."""

from __future__ import annotations

import pytest

from appliance.paths import Paths
from firstboot.cloudinit import read_values, unquote
from firstboot.imager import Left, read_left
from services.wifi import Wifi
from unit.firstboot import imager_files as files
from unit.firstboot.machine import Machine

# Imager 2.0.0 to 2.0.8; 1.8 and 1.9 leave "network:" out and the quotes, too.
OLD_USER_DATA = f"""hostname: attic
manage_etc_hosts: true
packages:
- avahi-daemon
apt:
  conf: |
    Acquire {{
      Check-Date "false";
    }};
timezone: Europe/Berlin
enable_ssh: true
users:
- name: anna
  groups: users,adm,dialout,audio,netdev,video,plugdev,cdrom,games,input,gpio,spi,i2c,render,sudo
  shell: /bin/bash
  lock_passwd: false
  passwd: {files.SHA256}
  ssh_authorized_keys:
    - {files.KEY}
  sudo: ALL=(ALL) NOPASSWD:ALL
"""
OLD_NETWORK = f"""network:
  version: 2
  wifis:
    wlan0:
      dhcp4: true
      regulatory-domain: "DE"
      access-points:
        "Café Zoë 东京":
          hidden: true
          password: "{files.PMK}"
      optional: true
"""
OLDER_NETWORK = f"""version: 2
wifis:
  renderer: networkd
  wlan0:
    dhcp4: true
    optional: true
    access-points:
      "Café Zoë":
        password: "{files.PMK}"
"""
HOME = Wifi(ssid=b"Our home".hex(), key="eight letters")
POINTS = "network:\n  wifis:\n    wlan0:\n      access-points:\n"


def put(paths: Paths, **found: str) -> None:
    for name, text in found.items():
        (paths.bootfs / name.replace("_", "-")).write_text(text)


def names(paths: Paths) -> set[str]:
    return {file.name for file in paths.bootfs.iterdir()} - {"claim-code.txt"}


def test_what_imager_2_0_8_leaves(machine: Machine) -> None:
    put(machine.paths, user_data=OLD_USER_DATA, network_config=OLD_NETWORK, meta_data="x: y\n")
    left, notes = read_left(machine.paths)
    assert notes == ()
    wifi = Wifi(ssid="Café Zoë 东京".encode().hex(), key=files.PMK, hidden=True)
    assert left == Left(hostname="attic", timezone="Europe/Berlin", country="DE", wifi=wifi,
                        ssh_keys=(files.KEY,), password=files.SHA256)  # fmt: skip
    machine.boot()
    assert names(machine.paths) == set()


def test_what_imager_1_9_leaves(machine: Machine) -> None:
    put(machine.paths, network_config=OLDER_NETWORK)
    left, notes = read_left(machine.paths)
    assert notes == ()
    assert left == Left(wifi=Wifi(ssid="Café Zoë".encode().hex(), key=files.PMK))


@pytest.mark.parametrize(
    "text",
    [
        '        "Our home":\n          password: "eight letters"  # the router\'s\n',
        "        'Our home':\n          password: 'eight letters' # mine\n",
        "        'Our home':\n          password: eight letters # mine\n",
        '        "Our home":\n          auth:\n            password: "eight letters"\n',
    ],
)
def test_a_network_written_by_hand(machine: Machine, text: str) -> None:
    put(machine.paths, network_config=POINTS + text)
    assert read_left(machine.paths) == (Left(wifi=HOME), ())


@pytest.mark.parametrize(
    "text",
    [
        "        Our home:\n          password: eight letters\n",
        '        ? "Our home"\n        : password: "eight letters"\n',
        '        "Our home": {password: "eight letters"}\n',
        '        {"Our home": {password: "eight letters"}}\n',
        '        - "Our home":\n            password: "eight letters"\n',
        '        "Our home":\n          { password: "eight letters" }\n',
        '        "Our home":\n          auth:\n            key-management: psk\n',
    ],
)
def test_what_was_not_understood_is_no_open_network_and_stays(machine: Machine, text: str) -> None:
    put(machine.paths, network_config=POINTS + text, user_data="hostname: attic\n")
    preseed = machine.boot().preseed
    assert preseed.wifi is None
    assert preseed.hostname == "attic"
    assert names(machine.paths) == {"network-config"}
    assert any("network-config stays on the card" in note for note in preseed.notes)
    assert not any("eight letters" in note for note in preseed.notes)


def test_an_open_network_of_an_older_imager(machine: Machine) -> None:
    put(machine.paths, network_config=POINTS + '        "Cafe":\n          password: ""\n')
    assert read_left(machine.paths) == (Left(wifi=Wifi(ssid=b"Cafe".hex())), ())


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("", False),
        ("#cloud-config\n\n", False),
        ("\0" * 100, False),
        ("manage_resolv_conf: false\nssh_pwauth: false\n", False),
        ("#cloud-config\nwrite_files:\n- path: /etc/x\n", True),
        ("{hostname: attic}\n", True),
        ("hostname: attic\n" + "#" * 70_000, True),
    ],
)
def test_a_file_that_gives_nothing_stays_if_there_is_something_in_it(
    machine: Machine, text: str, stays: bool
) -> None:
    put(machine.paths, user_data=text)
    for _ in range(2):
        notes = machine.boot().preseed.notes
        assert any("user-data stays on the card" in note for note in notes) is stays
        assert names(machine.paths) == ({"user-data"} if stays else set())


def test_a_toml_file_that_cannot_be_read_stays(machine: Machine) -> None:
    put(machine.paths)
    (machine.paths.bootfs / "rpi-preseed.toml").write_text('[wlan]\nssid = "x\n')
    assert "stays on the card" in machine.boot().preseed.notes[-1]
    assert names(machine.paths) == {"rpi-preseed.toml"}


def test_nothing_below_a_line_that_was_not_read_is_a_value() -> None:
    text = "a:\n  Our home:\n    b: 1\n    c:\n      - 2\n  d: 3\ne:\n- f: 4\n  g: 5\n"
    assert list(read_values(text)) == [
        (("a",), ""), (("a", "d"), "3"), (("e",), ""), (("e",), "f: 4"), (("e", "g"), "5"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"Zo\\xc3\\xab"', "Zoë"),
        ('"Zoë"', "Zoë"),
        ('"a \\"b\\" \\\\ c" # d', 'a "b" \\ c'),
        ('"a # b"', "a # b"),
        ("'it''s' # d", "it's"),
        ("plain#text # comment", "plain#text"),
        ('"\\xff"', "\udcff"),
        ('"open', '"open'),
    ],
)
def test_a_scalar(text: str, value: str) -> None:
    assert unquote(text) == value
