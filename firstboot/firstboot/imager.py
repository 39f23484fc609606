"""What Raspberry Pi Imager leaves on bootfs for a system's first start.

    rpi-preseed.toml            init_format "rpi-preseed", Imager 2.0.11 and later
    user-data, network-config   init_format "cloudinit", before; meta-data has nothing for us

Only the values named here are read; nothing is executed, no package installed, no user made. The
password, which Imager has hashed, serves as a claim. Sources: Imager's
src/customization_generator.cpp, and rpi-preseed's schema/rpi-preseed.schema.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import ConfigError, FieldError
from appliance.paths import Paths
from appliance.preseed import (
    MAX_SSID,
    RAW_KEY,
    check_country,
    check_host_name,
    check_ssh_key,
    check_wifi_password,
)
from appliance.validate import check_timezone
from firstboot.cloudinit import read_values
from services.bootfs import read_file
from services.crypt import is_hash
from services.passwords import hash_secret
from services.wifi import Wifi

TOML = "rpi-preseed.toml"
USER_DATA, NETWORK = "user-data", "network-config"
FILES = (TOML, USER_DATA, NETWORK, "meta-data")
# Sections that are of use to us, or that promise nothing to anybody.
KNOWN = {"config_version", "system", "user", "ssh", "wlan", "locale"}
ACCESS_POINTS = ("network", "wifis", "wlan0", "access-points")


@dataclass(frozen=True, kw_only=True)
class Left:
    """The usable part; ``password`` is a hash of crypt(3)'s or ours."""

    hostname: str | None = None
    timezone: str | None = None
    country: str | None = None
    ssh_keys: tuple[str, ...] | None = None
    password: str | None = field(default=None, repr=False)
    wifi: Wifi | None = None


def has_files(paths: Paths) -> bool:
    return any((paths.bootfs / name).is_file() for name in FILES)


def read_left(paths: Paths) -> tuple[Left, tuple[str, ...]]:
    """With notes for the owner about what is not used. Never raises for what stands there."""
    reader = _Reader()
    if (text := read_file(paths, TOML)) is not None:
        return reader.read_toml(text), tuple(reader.notes)
    values: dict[tuple[str, ...], list[str]] = {}
    for name in (USER_DATA, NETWORK):
        for path, value in read_values(read_file(paths, name) or ""):
            values.setdefault(path, []).append(value)
    return reader.read_cloud(values), tuple(reader.notes)


class _Reader:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def read_toml(self, text: str) -> Left:
        try:
            table = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            self.notes.append(f"{TOML} is not used: {error}")
            return Left()
        if unused := sorted(set(table) - KNOWN):
            self.notes.append(f"{TOML}: Hearth has no use for {', '.join(unused)[:80]}")
        ssh = _section(table, "ssh")
        user, wlan, locale = (_section(table, name) for name in ("user", "wlan", "locale"))
        keys = ssh.get("authorized_keys") if ssh.get("enabled") else None
        return Left(
            hostname=self._kept(check_host_name, _section(table, "system").get("hostname")),
            timezone=self._kept(check_timezone, locale.get("timezone")),
            country=self._kept(check_country, wlan.get("country")),
            ssh_keys=self._keys(keys) if isinstance(keys, list) else None,
            password=self._password(user.get("password"), bool(user.get("password_encrypted"))),
            wifi=self._wifi(_ssid_of(wlan), wlan.get("password"), bool(wlan.get("hidden"))),
        )

    def read_cloud(self, values: dict[tuple[str, ...], list[str]]) -> Left:
        def one(*path: str) -> str | None:
            return values.get(path, [None])[0] or None

        points = [path[len(ACCESS_POINTS)] for path in values
                  if path[: len(ACCESS_POINTS)] == ACCESS_POINTS
                  and len(path) == len(ACCESS_POINTS) + 1]  # fmt: skip
        name = points[0] if points else None
        at = (*ACCESS_POINTS, name or "")
        keys = [key for key in values.get(("user", "ssh_authorized_keys"), []) if key]
        return Left(
            hostname=self._kept(check_host_name, one("hostname")),
            timezone=self._kept(check_timezone, one("timezone")),
            country=self._kept(check_country, one(*ACCESS_POINTS[:3], "regulatory-domain")),
            ssh_keys=self._keys(keys) if keys else None,
            password=self._password(one("user", "passwd"), True),
            wifi=self._wifi(_octets(name), one(*at, "password"), one(*at, "hidden") == "true"),
        )

    def _kept(self, check: Any, value: object) -> str | None:
        if not isinstance(value, str) or not value:
            return None
        try:
            return str(check(value))
        except (ConfigError, FieldError) as error:
            self.notes.append(f"Raspberry Pi Imager's settings: {error.message}")
            return None

    def _keys(self, keys: list[Any]) -> tuple[str, ...]:
        return tuple(key for key in (self._kept(check_ssh_key, key) for key in keys) if key)

    def _password(self, value: object, is_hashed: bool) -> str | None:
        if not isinstance(value, str) or not value:
            return None
        if not is_hashed:
            return hash_secret(value)
        if is_hash(value):
            return value
        self.notes.append("Raspberry Pi Imager's settings: the password's hash is of no known kind")
        return None

    def _wifi(self, ssid: bytes | None, password: object, hidden: bool) -> Wifi | None:
        if ssid is None:
            return None
        if not 0 < len(ssid) <= MAX_SSID:
            self.notes.append("Raspberry Pi Imager's settings: the Wi-Fi name is too long")
            return None
        if not password:
            return Wifi(ssid=ssid.hex(), hidden=hidden)
        key = self._kept(check_wifi_password, password)
        if key is None:
            return None
        return Wifi(ssid=ssid.hex(), key=key.lower() if RAW_KEY.fullmatch(key) else key,
                    hidden=hidden)  # fmt: skip


def _section(table: dict[str, Any], name: str) -> dict[str, Any]:
    found = table.get(name)
    return found if isinstance(found, dict) else {}


def _ssid_of(wlan: dict[str, Any]) -> bytes | None:
    """By name, or in hexadecimal where it is no text."""
    if isinstance(name := wlan.get("ssid"), str):
        return name.encode("utf-8", "surrogatepass")
    try:
        return bytes.fromhex(wlan["ssid_hex"])
    except (KeyError, TypeError, ValueError):
        return None


def _octets(name: str | None) -> bytes | None:
    """Imager escapes each byte beyond ASCII for itself, where YAML means a character."""
    if name is None:
        return None
    try:
        return name.encode("latin-1")
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")
