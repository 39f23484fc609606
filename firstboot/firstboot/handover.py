"""What was set at flashing, from the card into the appliance's own keeping.

First everything is written to preseed.toml on the data partition, then secrets leave bootfs. So at
a power cut the next start finds the files again, whole or some of them, and what it finds is laid
over what is stored: the same comes out. hearth.toml stays on the card without its secrets and
counts at each start; what Raspberry Pi Imager left is removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from appliance.atomic import write_atomic
from appliance.bootreport import DataCondition, load_boot_report
from appliance.errors import ConfigError, HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import load_toml, save_toml
from firstboot.host import Host
from firstboot.imager import FILES, Left, has_files, read_left
from firstboot.preseed import Checked, load_preseed, redact
from services.bootfs import wipe_file
from services.crypt import verify_crypt
from services.passwords import verify_secret
from services.ssh import enable_ssh
from services.wifi import Wifi, write_wifi


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


def take_over(paths: Paths) -> Checked:
    """At the agent's start: what counts from now on. Never raises for what stands on the card."""
    own = load_preseed(paths)
    if load_boot_report(paths.boot_report).data is not DataCondition.OK:
        # There is no place to keep anything yet.
        return replace(own, ssh_keys=own.ssh_keys or ())
    left, notes = read_left(paths) if has_files(paths) else (Left(), ())
    before = load_kept(paths)
    kept = merge(merge_left(before, left), replace(own, wifi=_with_key(own.wifi, before.wifi)))
    if kept != before:
        save_kept(paths, kept)
    notes = (*own.notes, *notes, *_remove_files(paths))
    # Last: while Imager's Wi-Fi is still found, this one must be found whole as well.
    if own.wifi is not None and own.wifi.key:
        redact(paths, "wifi_password")
    return Checked(
        claim_code=own.claim_code,
        ssh_keys=kept.ssh_keys if own.ssh_keys is None else own.ssh_keys,
        timezone=kept.timezone or None,
        hostname=kept.hostname or None,
        country=kept.country or None,
        wifi=kept.wifi,
        notes=notes,
    )


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


def _with_key(own: Wifi | None, before: Wifi | None) -> Wifi | None:
    """hearth.toml's network, with the password that an earlier start has taken off the card."""
    if own is not None and not own.key and before is not None and before.ssid == own.ssid:
        return replace(own, key=before.key)
    return own


def is_preset_password(paths: Paths, given: str) -> bool:
    """Whether it is the password that was typed into Raspberry Pi Imager."""
    stored = load_kept(paths).password
    return bool(stored) and (verify_crypt(given, stored) or verify_secret(given, stored))


def forget_password(paths: Paths) -> None:
    """Setup is over: from now on the owner's password opens the door."""
    kept = load_kept(paths)
    if kept.password:
        save_kept(paths, replace(kept, password=""))


def _remove_files(paths: Paths) -> tuple[str, ...]:
    try:
        for name in FILES:
            wipe_file(paths, name)
    except StateError as error:
        return (f"what Raspberry Pi Imager left stays on the card: {error.message}",)
    return ()


def put_into_effect(paths: Paths, host: Host, preseed: Checked) -> None:
    """SSH, host name and Wi-Fi, each for itself: a failure of one must not cost the others."""
    for act in (_start_ssh, _rename, _join_wifi):
        try:
            act(paths, host, preseed)
        except (HearthError, OSError):
            logger.exception("what was set at flashing has no effect")


def _start_ssh(paths: Paths, host: Host, preseed: Checked) -> None:
    if preseed.ssh_keys:
        enable_ssh(paths, preseed.ssh_keys)
        host.start_ssh()


def _rename(paths: Paths, host: Host, preseed: Checked) -> None:
    """set-hostname reads the name at each start; the first time it has run already."""
    file = paths.system / "hostname"
    before = file.read_text().strip() if file.exists() else ""
    if preseed.hostname and preseed.hostname != before:
        file.parent.mkdir(exist_ok=True)
        write_atomic(file, f"{preseed.hostname}\n")
        host.rename()


def _join_wifi(paths: Paths, host: Host, preseed: Checked) -> None:
    if preseed.wifi is not None:
        write_wifi(paths, preseed.wifi, preseed.country or "")
        host.start_wifi()
