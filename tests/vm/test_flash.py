"""The card as a person makes it: `hearth flash` with all that can be set beforehand, and its start.

The whole image goes through the compressed file and its block map onto a loop device, and what
lies there then is the card of a machine. Simulated: the radio (mac80211_hwsim, in the machine's own
kernel), whose other half is the home's access point.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from appliance.deadline import wait_until
from appliance.run import run
from imagebuild.context import Context
from imagebuild.vm import CARD_SIZE, make_card
from services.wifi import Wifi, raw_key
from vm.guest import Guest, make_directory
from vm.releases import environment
from vm.times import Times
from vm.wizard import PAGE_SECONDS, Wizard

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

NAME, ZONE, COUNTRY = "attic", "Europe/Lisbon", "PT"
SSID, WIFI_PASSWORD = "Café de l'Étage", 'quote " and # sign'
JOIN_SECONDS = 120
# An access point on the second radio, and the router behind it. "$1": the network's key.
ACCESS_POINT = f"""
modprobe mac80211_hwsim radios=2
udevadm settle
printf '%s\\n' 'network={{' 'ssid={SSID.encode().hex()}' 'mode=2' 'frequency=2412' \\
    'key_mgmt=WPA-PSK' "psk=$1" 'proto=RSN' 'pairwise=CCMP' '}}' > /run/flat.conf
mkdir -p /run/systemd/network
printf '%s\\n' '[Match]' 'Name=wlan1' '[Network]' 'Address=10.99.0.1/24' 'DHCPServer=yes' \\
    'ConfigureWithoutCarrier=yes' > /run/systemd/network/10-flat.network
networkctl reload
wpa_supplicant -B -D nl80211 -i wlan1 -c /run/flat.conf -P /run/flat.pid
"""


@pytest.fixture(scope="module")
def directory(context: Context) -> Path:
    return make_directory(context, "flash")


@pytest.fixture(scope="module")
def times(directory: Path) -> Times:
    return Times(directory / "times.json")


@pytest.fixture(scope="module")
def guest(context: Context, directory: Path, times: Times) -> Iterator[Guest]:
    found = Guest(context, directory, cpus=2)
    found.image = directory / "flashed.img"
    with times.part("hearth flash"):
        flash(found)
    make_card(context.tools.resolve(), found.image, found.card)
    found.start()
    try:
        with times.part("waiting for the wizard"):
            found.wait_for_pages()
        found.wait_for_ssh()
        yield found
    finally:
        found.save_journal("last")
        found.stop()


def flash(guest: Guest) -> None:
    """With what is typed on a terminal, and the password in a file as for scripts."""
    guest.image.touch()
    os.truncate(guest.image, CARD_SIZE)
    password = guest.directory / "wifi-password"
    password.write_text(f"{WIFI_PASSWORD}\n")
    loop = Path(run(["losetup", "--find", "--show", guest.image]).stdout.strip())
    argv: list[str | Path] = [
        sys.executable, "-m", "imagebuild", "flash", guest.context.compressed_image, "--disk", loop,
        "--hostname", NAME, "--timezone", ZONE, "--country", COUNTRY,
        "--ssh-key", guest.key.with_suffix(".pub"),
        "--wifi", SSID, "--wifi-password-file", password,
    ]  # fmt: skip
    try:
        said = subprocess.run(
            argv, input=f"{loop.name}\n", capture_output=True, text=True, check=False,
            timeout=600, env=environment(),
        )  # fmt: skip
        assert said.returncode == 0, said.stderr
        assert "checked" in said.stdout
    finally:
        run(["losetup", "--detach", loop])


def test_the_appliance_has_its_name(guest: Guest) -> None:
    assert guest.ssh("hostname").strip() == NAME
    answer = guest.ssh("avahi-resolve", "-4", "-n", f"{NAME}.local")
    assert answer.startswith(f"{NAME}.local")
    assert f"http://{NAME}.local/" in guest.serial


def test_the_secrets_have_left_the_card(guest: Guest) -> None:
    def kept() -> dict[str, object]:
        return dict(tomllib.loads(guest.ssh("cat", "/boot/firmware/hearth.toml")))

    wait_until(lambda: kept().get("wifi_password_kept"), seconds=60, what="the password's removal")
    assert "wifi_password" not in kept()
    free = guest.ssh("sh", "-c", 'grep -c -a -F "$1" /dev/vda1 || true', "sh", WIFI_PASSWORD)
    assert free.strip() == "0", "it is still in the partition's blocks"


def test_whoever_has_the_key_may_claim(guest: Guest, browser: Browser) -> None:
    """And the wizard knows what was set already."""
    lines = dict(line.split(": ", 1) for line in guest.ssh("hearthctl", "claim").splitlines())
    wizard = Wizard(browser, guest.url(), guest.directory / "pictures", javascript=False)
    wizard.claim(lines["claim code"])
    wizard.heading("Who looks after this server")
    expect(wizard.page.locator("[name=timezone]")).to_have_value(ZONE, timeout=PAGE_SECONDS * 1000)
    wizard.page.context.close()


@pytest.mark.long
def test_the_wifi_network_is_joined(guest: Guest, times: Times) -> None:
    key = raw_key(Wifi(ssid=SSID.encode().hex(), key=WIFI_PASSWORD))
    guest.ssh("sh", "-ec", ACCESS_POINT, "sh", key)
    # It has tried in vain since the start, and waits longer each time; a real radio is there early.
    guest.ssh("systemctl", "restart", "hearth-wifi")
    with times.part("joining the Wi-Fi network"):
        wait_until(
            lambda: "inet 10.99.0." in guest.ssh("ip", "-4", "-o", "address", "show", "wlan0"),
            seconds=JOIN_SECONDS, what="an address from the access point's router", every=1,
        )  # fmt: skip
    said = guest.ssh("wpa_cli", "-p", "/run/hearth-wifi", "-i", "wlan0", "status")
    assert "wpa_state=COMPLETED" in said
