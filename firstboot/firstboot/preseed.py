"""hearth.toml on bootfs: what an owner may set before the first start, on any computer.

Its keys are appliance.preseed's. A mistake never stops the start: it becomes a note on the console
and on the pages, and the other keys still count.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from typing import Any

from appliance.errors import ConfigError, FieldError, HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.preseed import (
    PRESEED_FILE,
    Preseed,
    check_country,
    check_host_name,
    check_ssh_key,
    check_wifi_name,
    check_wifi_password,
)
from appliance.tables import parse_table, unknown_key
from appliance.validate import check_timezone
from firstboot.codes import check_preset_code
from services.bootfs import MAX_BYTES, is_too_large, read_file, write_file
from services.wifi import Wifi

MAX_NOTES = 8  # the pages show them all


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The usable part of what lay on the card, and a note for each part that is not.

    ``ssh_keys`` None: nothing is said of them. ``wifi.key`` is empty for an open network, and where
    an earlier start has taken the password over.
    """

    claim_code: str | None = field(default=None, repr=False)
    ssh_keys: tuple[str, ...] | None = None
    timezone: str | None = None
    hostname: str | None = None
    country: str | None = None
    wifi: Wifi | None = None
    notes: tuple[str, ...] = ()


def load_preseed(paths: Paths) -> Checked:
    """Never raises for what stands in the file."""
    if is_too_large(paths, PRESEED_FILE):
        note = f"{PRESEED_FILE} is not used: it is larger than {MAX_BYTES // 1024} KiB"
        return Checked(notes=(note,))
    text = read_file(paths, PRESEED_FILE)
    return parse_preseed(text) if text is not None else Checked()


def parse_preseed(text: str) -> Checked:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: a number of 5000 digits, too
        hint = 'each line looks like: timezone = "Europe/Berlin", with straight quotes'
        return Checked(notes=(f"{PRESEED_FILE} is not used: {error} ({hint})",))
    notes: list[str] = []
    preseed = _known_part(table, notes)
    return Checked(
        claim_code=_kept(check_preset_code, preseed.claim_code, notes),
        timezone=_kept(check_timezone, preseed.timezone, notes),
        hostname=_kept(check_host_name, preseed.hostname, notes),
        country=_kept(check_country, preseed.country, notes),
        ssh_keys=_ssh_keys(preseed, notes),
        wifi=_wifi(preseed, notes),
        notes=_first(notes),
    )


def _ssh_keys(preseed: Preseed, notes: list[str]) -> tuple[str, ...] | None:
    if preseed.ssh_key is None and preseed.ssh_keys is None:
        return None
    keys = (*((preseed.ssh_key,) if preseed.ssh_key else ()), *(preseed.ssh_keys or ()))
    return tuple(key for key in (_kept(check_ssh_key, key, notes) for key in keys) if key)


def _wifi(preseed: Preseed, notes: list[str]) -> Wifi | None:
    """With a password that cannot be one it is no network at all, rather than an open one."""
    name = _kept(check_wifi_name, preseed.wifi_ssid, notes)
    password = _kept(check_wifi_password, preseed.wifi_password, notes)
    if name is None or (preseed.wifi_password is not None and password is None):
        return None
    hidden = bool(preseed.wifi_hidden)
    return Wifi(ssid=name.encode().hex(), key=password or "", hidden=hidden)


def _first(notes: list[str]) -> tuple[str, ...]:
    if len(notes) <= MAX_NOTES:
        return tuple(notes)
    more = f"{PRESEED_FILE}: {len(notes) - MAX_NOTES} more mistakes of this kind"
    return (*notes[:MAX_NOTES], more)


def _known_part(table: dict[str, Any], notes: list[str]) -> Preseed:
    known = [item.name for item in fields(Preseed)]
    good: dict[str, Any] = {}
    for key, value in table.items():
        try:
            if key not in known:
                raise unknown_key(key, known, PRESEED_FILE)
            parse_table(Preseed, {key: value}, where=PRESEED_FILE)
            good[key] = value
        except ConfigError as error:
            notes.append(_note(error))
    return parse_table(Preseed, good, where=PRESEED_FILE)


def _kept(check: Any, value: str | None, notes: list[str]) -> str | None:
    if value is None:
        return None
    try:
        return str(check(value))
    except (ConfigError, FieldError) as error:
        notes.append(f"{PRESEED_FILE}: {_note(error)}")
        return None


def _note(error: HearthError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def redact_claim_code(paths: Paths) -> None:
    """After the claim: the preset code leaves the card, everything else in the file stays."""
    redact(paths, "claim_code")


def redact(paths: Paths, key: str) -> None:
    """Replace the line of a secret that is not needed there any more by a comment."""
    text = read_file(paths, PRESEED_FILE)
    line = re.compile(rf"^[ \t]*{key}[ \t]*=.*$", re.MULTILINE)
    if text is None or not line.search(text):
        return
    redacted = line.sub(f"# {key} was used, and Hearth has removed it", text)
    try:
        tomllib.loads(redacted)
        write_file(paths, PRESEED_FILE, redacted, wipe=True)
    except tomllib.TOMLDecodeError:
        # A value over several lines: rather an old secret on the card than an owner's file broken.
        logger.warning("the used %s stays in %s", key, PRESEED_FILE)
    except StateError as error:
        logger.warning("the used %s stays in %s: %s", key, PRESEED_FILE, error.message)
