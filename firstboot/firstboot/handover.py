"""What was set at flashing, from the card into the appliance's own keeping.

First everything is written to preseed.toml on the data partition, then secrets leave bootfs. So at
a power cut the next start finds the files again, whole or some of them, and what it finds is laid
over what is stored: the same comes out. hearth.toml stays on the card without its secrets and
counts at each start; what Raspberry Pi Imager left is removed.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.atomic import write_atomic
from appliance.bootreport import DataCondition, load_boot_report
from appliance.errors import HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.preseed import PRESEED_FILE
from firstboot.host import Host
from firstboot.imager import FILES, Left, has_files, read_left
from firstboot.kept import Kept, load_kept, merge, merge_left, save_kept
from firstboot.preseed import Checked, load_preseed, redact_wifi_password
from services.bootfs import finish_write, wipe_file
from services.ssh import enable_ssh
from services.wifi import Wifi, write_wifi


def take_over(paths: Paths) -> Checked:
    """At the agent's start: what counts from now on. Never raises for what stands on the card."""
    unfinished = _finish_write(paths)
    own = load_preseed(paths)
    left, notes = read_left(paths) if has_files(paths) else (Left(), ())
    before = load_kept(paths)
    kept = merge_left(before, left)
    wifi, lost = _own_wifi(own, kept)
    kept = merge(kept, replace(own, wifi=wifi))
    if kept != before:
        save_kept(paths, kept)
    notes = (*own.notes, *lost, *notes, *unfinished)
    # Without data /data is in memory: it counts for this start, and the card has to keep it.
    if load_boot_report(paths.boot_report).data is DataCondition.OK:
        notes += _remove_files(paths, left)
        # Last: while Imager's Wi-Fi is still found, this one must be found whole as well.
        if own.wifi is not None and own.wifi.key:
            notes += redact_wifi_password(paths)
    return Checked(
        claim_code=own.claim_code,
        ssh_keys=kept.ssh_keys if own.ssh_keys is None else own.ssh_keys,
        timezone=kept.timezone or None,
        hostname=kept.hostname or None,
        country=kept.country or None,
        wifi=kept.wifi,
        notes=notes,
    )


def _own_wifi(own: Checked, kept: Kept) -> tuple[Wifi | None, tuple[str, ...]]:
    """hearth.toml's network, with the password that an earlier start has taken off the card.

    Where that is lost it is no network, and a note: never one of the same name without a password,
    which anybody in the street can open.
    """
    if own.wifi is None or own.wifi.key:
        return own.wifi, ()
    if kept.wifi is not None and kept.wifi.ssid == own.wifi.ssid and kept.wifi.key:
        return replace(own.wifi, key=kept.wifi.key), ()
    if not own.wifi_password_kept:
        return own.wifi, ()
    note = (f"{PRESEED_FILE}: the password of the Wi-Fi network {own.wifi.name!r} is not here any "
            "more: write wifi_password into the file again")  # fmt: skip
    return None, (note,)


def _finish_write(paths: Paths) -> tuple[str, ...]:
    try:
        finish_write(paths, PRESEED_FILE)
    except StateError as error:
        return (f"a used secret may still be in {PRESEED_FILE} on the card: {error.message}",)
    return ()


def _remove_files(paths: Paths, left: Left) -> tuple[str, ...]:
    try:
        for name in FILES:
            if name not in left.unused:
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
