"""hearth.toml on bootfs: its keys and their rules, for `hearth flash` and for the device.

    hostname = "attic"                      # attic.local, instead of hearth-xxxx.local
    timezone = "Europe/Berlin"              # what the wizard offers
    country = "DE"                          # which Wi-Fi channels are allowed (ISO 3166-1)
    wifi_ssid = "Our home"
    wifi_password = "as the router has it"  # left out for a network without one
    wifi_password_kept = true               # in its place once Hearth has taken it off the card
    wifi_hidden = false
    claim_code = "seven purple kettles"     # instead of the one that Hearth makes
    ssh_key = "ssh-ed25519 AAAA... anna"    # switches SSH on, for root, with these keys only
    ssh_keys = ["...", "..."]

Each may be left out.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

import tomli_w

from appliance.errors import ConfigError
from appliance.tables import to_table
from appliance.validate import LABEL

PRESEED_FILE = "hearth.toml"
# OpenSSH's public key types (PROTOCOL.*, sshd(8) AUTHORIZED_KEYS); DSA is gone since OpenSSH 10.
KEY = re.compile(
    r"(?P<type>ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)"
    r"|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)"
    r"[ \t]+(?P<blob>[A-Za-z0-9+/]+={0,2})(?:[ \t]+(?P<comment>[^\r\n]*))?"
)
COUNTRY = re.compile(r"[A-Z]{2}")
# IEEE 802.11-2020 section 9.4.2.2 (SSID) and annex J.4.1 (passphrase, or the key it becomes).
MAX_SSID = 32
PASSPHRASE = re.compile(r"[ -~]{8,63}")
RAW_KEY = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, kw_only=True)
class Preseed:
    """The file as it stands there; nothing is checked yet."""

    hostname: str | None = None
    timezone: str | None = None
    country: str | None = None
    wifi_ssid: str | None = None
    wifi_password: str | None = field(default=None, repr=False)
    wifi_password_kept: bool | None = None
    wifi_hidden: bool | None = None
    claim_code: str | None = field(default=None, repr=False)
    ssh_key: str | None = None
    ssh_keys: tuple[str, ...] | None = None


def render_preseed(preseed: Preseed) -> str:
    return tomli_w.dumps(to_table(preseed))


def check_ssh_key(line: str) -> str:
    """One public key without options, as authorized_keys takes it. Raises ConfigError."""
    found = KEY.fullmatch(line.strip())
    hint = "copy the whole line of a .pub file: ssh-ed25519 AAAA... name"
    if found is None:
        what = "a private key" if "PRIVATE KEY" in line else f"{line.strip()[:24]!r}..."
        raise ConfigError(f"{what} is not an SSH public key", hint=hint)
    try:
        blob = base64.b64decode(found["blob"], validate=True)
    except binascii.Error as error:
        raise ConfigError("an SSH key is cut short or mistyped", hint=hint) from error
    # RFC 4253 section 6.6: the blob begins with the type's length and name.
    name = found["type"].encode()
    if not blob.startswith(len(name).to_bytes(4, "big") + name) or len(blob) <= len(name) + 4:
        raise ConfigError("an SSH key is cut short or mistyped", hint=hint)
    return line.strip()


def check_host_name(name: str) -> str:
    """One label (RFC 1123 section 2.1), in lower case. Raises ConfigError."""
    folded = name.strip().lower().removesuffix(".local")
    if not LABEL.fullmatch(folded) or folded.isdigit() or folded == "localhost":
        hint = "letters a to z, digits and hyphens, at most 63 of them: attic"
        raise ConfigError(f"{name[:80]!r} is not a host name", hint=hint)
    return folded


def check_country(code: str) -> str:
    """ISO 3166-1, two letters. Raises ConfigError."""
    folded = code.strip().upper()
    if not COUNTRY.fullmatch(folded):
        raise ConfigError(f"{code[:80]!r} is not a country", hint="two letters: DE, FR, GB, US")
    return folded


def check_wifi_name(ssid: str) -> str:
    """Raises ConfigError."""
    if not 0 < len(ssid.encode("utf-8", "surrogatepass")) <= MAX_SSID:
        message = f"a Wi-Fi name has 1 to {MAX_SSID} bytes, this one {len(ssid.encode())}"
        raise ConfigError(message, hint="type it exactly as the router shows it")
    return ssid


def check_wifi_password(password: str) -> str:
    """Raises ConfigError, which never shows it."""
    if not PASSPHRASE.fullmatch(password) and not RAW_KEY.fullmatch(password):
        hint = "8 to 63 letters, digits and signs of a US keyboard, as the router has it"
        raise ConfigError("this cannot be a Wi-Fi password", hint=hint)
    return password
