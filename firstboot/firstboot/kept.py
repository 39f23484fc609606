"""preseed.toml: what was set at flashing, kept after it has left the card."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.errors import ConfigError
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import load_toml, save_toml
from firstboot.imager import Left
from firstboot.preseed import Checked
from services.crypt import verify_crypt
from services.passwords import verify_secret
from services.wifi import Wifi


@dataclass(frozen=True, kw_only=True)
class Kept:
    """preseed.toml, 0600. ``password`` is a hash (ours or crypt(3)'s) that serves as a claim until
    setup is over."""

    hostname: str = ""
    timezone: str = ""
    country: str = ""
    ssh_keys: tuple[str, ...] = ()
    password: str = field(default="", repr=False)
    wifi: Wifi | None = None


def load_kept(paths: Paths) -> Kept:
    """A file that is damaged counts as none: the owner can set everything in the pages, too."""
    if not paths.preseed.exists():
        return Kept()
    try:
        return load_toml(Kept, paths.preseed)
    except ConfigError as error:
        logger.warning("what was set at flashing is lost: %s", error.message)
        return Kept()


def save_kept(paths: Paths, kept: Kept) -> None:
    save_toml(kept, paths.preseed, mode=0o600)


def merge_left(kept: Kept, left: Left) -> Kept:
    """Imager's values over those before; of one that it does not give, the one before stays."""
    return Kept(
        hostname=left.hostname or kept.hostname,
        timezone=left.timezone or kept.timezone,
        country=left.country or kept.country,
        ssh_keys=kept.ssh_keys if left.ssh_keys is None else left.ssh_keys,
        password=left.password or kept.password,
        wifi=left.wifi or kept.wifi,
    )


def merge(kept: Kept, own: Checked) -> Kept:
    """hearth.toml's values over those. Its SSH keys are read from the card each time: one that is
    taken off the card opens nothing any more."""
    return replace(
        kept,
        hostname=own.hostname or kept.hostname,
        timezone=own.timezone or kept.timezone,
        country=own.country or kept.country,
        wifi=own.wifi or kept.wifi,
    )


def carry_network(paths: Paths, hearth: Path) -> None:
    """Into the new ``hearth`` directory of a factory reset: an appliance without a cable would
    never be seen again, for its Wi-Fi password left the card at its first start."""
    kept = load_kept(paths)
    if kept.wifi is not None:
        network = Kept(country=kept.country, wifi=kept.wifi)
        save_toml(network, hearth / paths.preseed.name, mode=0o600)


def is_preset_password(paths: Paths, given: str) -> bool:
    """Whether it is the password that was typed into Raspberry Pi Imager."""
    stored = load_kept(paths).password
    return bool(stored) and (verify_crypt(given, stored) or verify_secret(given, stored))


def forget_password(paths: Paths) -> None:
    """Setup is over: from now on the owner's password opens the door."""
    kept = load_kept(paths)
    if kept.password:
        save_kept(paths, replace(kept, password=""))
