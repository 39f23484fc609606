"""Joining a Wi-Fi network: wpa_supplicant's configuration; systemd-networkd asks for the address.

The same program can also be an access point, with systemd-networkd's own DHCP server beside it, so
the image needs neither hostapd nor NetworkManager.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.atomic import write_atomic
from appliance.paths import Paths
from appliance.preseed import RAW_KEY

CONFIGURATION = "wifi.conf"  # under /run/hearth: it is made anew at each start
CONTROL = "/run/hearth-wifi"


@dataclass(frozen=True, kw_only=True)
class Wifi:
    """``ssid`` in hexadecimal, because any 32 bytes are a name. ``key``: a passphrase, the 64
    hexadecimal digits that WPA2 makes of one (IEEE 802.11 annex J.4), or "" for an open network.
    """

    ssid: str
    key: str = field(default="", repr=False)
    hidden: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return bytes.fromhex(self.ssid).decode(errors="replace")


def render_wifi(wifi: Wifi, country: str) -> str:
    """wpa_supplicant.conf(5).

    Not for networks with a certificate or a user name, nor for open ones that encrypt (OWE) only.
    """
    # sae_pwe: WPA3's both ways from a passphrase to a key; some routers know only the newer one.
    lines = [f"ctrl_interface={CONTROL}", "update_config=0", "sae_pwe=2"]
    if country:
        lines.append(f"country={country}")
    lines += ["network={", f"\tssid={wifi.ssid}"]
    if wifi.hidden:
        lines.append("\tscan_ssid=1")
    return "\n".join([*lines, *(f"\t{line}" for line in _security(wifi)), "}", ""])


def _security(wifi: Wifi) -> list[str]:
    if not wifi.key:
        return ["key_mgmt=NONE"]
    if RAW_KEY.fullmatch(wifi.key):
        # WPA3 needs the passphrase itself, which nobody can tell from the key.
        return [f"psk={raw_key(wifi)}", "key_mgmt=WPA-PSK WPA-PSK-SHA256", "ieee80211w=1"]
    both = ["key_mgmt=WPA-PSK WPA-PSK-SHA256 SAE", "ieee80211w=1"]
    if '"' in wifi.key:
        # To wpa_supplicant it ends the text, and what follows may be a comment: no text, then.
        return [f"psk={raw_key(wifi)}", f"sae_password={wifi.key.encode().hex()}", *both]
    return [f'psk="{wifi.key}"', *both]


def raw_key(wifi: Wifi) -> str:
    """What WPA2 makes of a passphrase and the network's name (IEEE 802.11 annex J.4)."""
    if RAW_KEY.fullmatch(wifi.key):
        return wifi.key.lower()
    import hashlib  # OpenSSL: the resident agent needs it here only

    name = bytes.fromhex(wifi.ssid)
    return hashlib.pbkdf2_hmac("sha1", wifi.key.encode(), name, 4096, 32).hex()


def write_wifi(paths: Paths, wifi: Wifi, country: str) -> None:
    """For this start; hearth-wifi.service reads it."""
    text = render_wifi(wifi, country)
    write_atomic(paths.runtime / CONFIGURATION, text, mode=0o600)
