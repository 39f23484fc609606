"""What Raspberry Pi Imager leaves on bootfs for a system's first start.

    rpi-preseed.toml            init_format "rpi-preseed", Imager 2.0.11 and later
    user-data, network-config   init_format "cloudinit", before; meta-data has nothing for us

Only the values named here are read; nothing is executed, no package installed, no user made. The
password, which Imager has hashed, serves as a claim. A file that gives nothing, written by hand
perhaps, stays on the card with a note. Sources: Imager's
src/customization_generator.cpp, and rpi-preseed's schema/rpi-preseed.schema.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
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
from services.bootfs import is_too_large, read_file
from services.crypt import is_hash
from services.passwords import hash_secret
from services.wifi import Wifi

TOML = "rpi-preseed.toml"
USER_DATA, NETWORK = "user-data", "network-config"
FILES = (TOML, USER_DATA, NETWORK, "meta-data")
# Sections that are of use to us, or that promise nothing to anybody.
KNOWN = {"config_version", "system", "user", "ssh", "wlan", "locale"}
ACCESS_POINTS = ("wifis", "wlan0", "access-points")
# Imager 1.8 to 2.0.8 makes a list of users and leaves the outermost key of the network out.
USER_LIST, OUTERMOST = "users", "network"
# What Imager writes into these files also where nothing was set that is of use to us.
PADDING = {
    USER_DATA: {"manage_resolv_conf", "manage_etc_hosts", "packages", "apt", "keyboard",
                "enable_ssh", "ssh_pwauth", "rpi"},
    NETWORK: {"version", "renderer", "ethernets"},
}  # fmt: skip

Values = dict[tuple[str, ...], list[str]]


@dataclass(frozen=True, kw_only=True)
class Left:
    """The usable part; ``password`` is a hash of crypt(3)'s or ours. ``unused``: files in which
    nothing was of use, though there is something in them."""

    hostname: str | None = None
    timezone: str | None = None
    country: str | None = None
    ssh_keys: tuple[str, ...] | None = None
    password: str | None = field(default=None, repr=False)
    wifi: Wifi | None = None
    unused: tuple[str, ...] = ()


def has_files(paths: Paths) -> bool:
    return any((paths.bootfs / name).is_file() for name in FILES)


def read_left(paths: Paths) -> tuple[Left, tuple[str, ...]]:
    """With notes for the owner about what is not used. Never raises for what stands there."""
    reader = _Reader()
    unused: list[str] = []
    if (text := read_file(paths, TOML)) is not None:
        left = reader.read_toml(text)
        if left == Left() and reader.notes:
            unused = [TOML]
    else:
        found = {name: _values(paths, name) for name in (USER_DATA, NETWORK)}
        left = reader.read_cloud(found[USER_DATA] | found[NETWORK])
        if left == Left(country=left.country, wifi=left.wifi):
            unused += _if_it_says_something(paths, USER_DATA, found[USER_DATA])
        if left.wifi is None:
            unused += _if_it_says_something(paths, NETWORK, found[NETWORK])
    for name in unused:
        reader.notes.append(f"{name} stays on the card: Hearth could not use what is in it")
    return replace(left, unused=tuple(unused)), tuple(reader.notes)


def _values(paths: Paths, name: str) -> Values:
    values: Values = {}
    for path, value in read_values(read_file(paths, name) or ""):
        if path[0] in (OUTERMOST, USER_LIST):
            path = ("user", *path[1:]) if path[0] == USER_LIST else path[1:]
        values.setdefault(path, []).append(value)
    return values


def _if_it_says_something(paths: Paths, name: str, values: Values) -> list[str]:
    """The name of a file that is more than a comment, and more than what is always there."""
    text = read_file(paths, name)
    if text is None:
        return [name] if is_too_large(paths, name) else []
    if values:
        return [name] if {path[0] for path in values if path} - PADDING[name] else []
    lines = (line.strip() for line in text.splitlines())
    return [name] if any(line and not line.startswith("#") for line in lines) else []


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

    def read_cloud(self, values: Values) -> Left:
        def one(*path: str) -> str | None:
            return values.get(path, [None])[0] or None

        points = [path[len(ACCESS_POINTS)] for path in values
                  if path[: len(ACCESS_POINTS)] == ACCESS_POINTS
                  and len(path) == len(ACCESS_POINTS) + 1]  # fmt: skip
        name = points[0] if points else None
        at = (*ACCESS_POINTS, name or "")
        password = one(*at, "password") or one(*at, "auth", "password")
        # Said as Imager says it, or else a password may stand there in a way that was not read.
        is_open = (*at, "password") in values or one(*at, "auth", "key-management") == "none"
        if name is not None and not password and not is_open:
            self.notes.append(
                f"{NETWORK}: the Wi-Fi network is not joined: its password was not found"
            )
            name = None
        keys = [key for key in values.get(("user", "ssh_authorized_keys"), []) if key]
        return Left(
            hostname=self._kept(check_host_name, one("hostname")),
            timezone=self._kept(check_timezone, one("timezone")),
            country=self._kept(check_country, one(*ACCESS_POINTS[:2], "regulatory-domain")),
            ssh_keys=self._keys(keys) if keys else None,
            password=self._password(one("user", "passwd"), True),
            wifi=self._wifi(_octets(name), password, one(*at, "hidden") == "true"),
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
    """Bytes that are no text come as read_values gives them."""
    return None if name is None else name.encode("utf-8", "surrogateescape")
