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
MAX_LINES = 40  # of one value


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The usable part of what lay on the card, and a note for each part that is not.

    ``ssh_keys`` None: nothing is said of them. ``wifi.key`` is empty for an open network, and where
    an earlier start has taken the password over (``wifi_password_kept``).
    """

    claim_code: str | None = field(default=None, repr=False)
    ssh_keys: tuple[str, ...] | None = None
    timezone: str | None = None
    hostname: str | None = None
    country: str | None = None
    wifi: Wifi | None = None
    wifi_password_kept: bool = False
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
    _quote_digits(table, text)
    preseed = _known_part(table, notes)
    return Checked(
        claim_code=_kept(check_preset_code, preseed.claim_code, notes),
        timezone=_kept(check_timezone, preseed.timezone, notes),
        hostname=_kept(check_host_name, preseed.hostname, notes),
        country=_kept(check_country, preseed.country, notes),
        ssh_keys=_ssh_keys(preseed, notes),
        wifi=_wifi(preseed, table, notes),
        wifi_password_kept=bool(preseed.wifi_password_kept),
        notes=_first(notes),
    )


def _ssh_keys(preseed: Preseed, notes: list[str]) -> tuple[str, ...] | None:
    if preseed.ssh_key is None and preseed.ssh_keys is None:
        return None
    keys = (*((preseed.ssh_key,) if preseed.ssh_key else ()), *(preseed.ssh_keys or ()))
    return tuple(key for key in (_kept(check_ssh_key, key, notes) for key in keys) if key)


def _quote_digits(table: dict[str, Any], text: str) -> None:
    """A password of digits may lack its quotes, where TOML's number is what was typed."""
    value = table.get("wifi_password")
    if type(value) is int and re.search(rf"=[ \t]*{value}[ \t]*$", text, re.MULTILINE):
        table["wifi_password"] = str(value)


def _wifi(preseed: Preseed, table: dict[str, Any], notes: list[str]) -> Wifi | None:
    """With a password that cannot be one it is no network at all, rather than an open one; nor
    without a password where a key that is not known may be a misspelt one."""
    name = _kept(check_wifi_name, preseed.wifi_ssid, notes)
    password = _kept(check_wifi_password, preseed.wifi_password, notes)
    if "wifi_password" in table and (name is None or password is None):
        why = "" if "wifi_ssid" in table else ": there is no wifi_ssid"
        notes.append(f"{PRESEED_FILE}: wifi_password stays on the card and is not used{why}")
        return None
    if name is None:
        return None
    unknown = table.keys() - {item.name for item in fields(Preseed)}
    if password is None and unknown:
        notes.append(f"{PRESEED_FILE}: the Wi-Fi network {name!r} is not joined: it has no "
                     f"wifi_password, and {min(unknown)[:40]!r} may be meant for it")  # fmt: skip
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


def redact_claim_code(paths: Paths) -> tuple[str, ...]:
    """After the claim: the preset code leaves the card, everything else in the file stays.

    Both return a note where that cannot be done.
    """
    return _redact(paths, "claim_code", "")


def redact_wifi_password(paths: Paths) -> tuple[str, ...]:
    """It is kept by now. What stands there instead keeps the network from becoming an open one
    when what was kept is lost."""
    return _redact(paths, "wifi_password", "wifi_password_kept = true")


def _redact(paths: Paths, key: str, instead: str) -> tuple[str, ...]:
    text = read_file(paths, PRESEED_FILE)
    if text is None or key not in text:
        return ()
    comment = f"# {key} was used, and Hearth has removed it"
    try:
        redacted = without_key(text, key, f"{comment}\n{instead}" if instead else comment)
        write_file(paths, PRESEED_FILE, redacted, wipe=True)
    except (ConfigError, StateError) as error:
        note = f"the used {key} stays in {PRESEED_FILE} on the card: {error.message}"
        logger.warning("%s", note)
        return (note,)
    return ()


def without_key(text: str, key: str, instead: str) -> str:
    """hearth.toml with other lines in ``key``'s place. Raises ConfigError where that would change
    anything else: rather an old secret on the card than an owner's file broken.

    A value may go over several lines: where it ends is where tomllib can read it.
    """
    try:
        table = tomllib.loads(text)
        if key not in table:
            return text
        added = tomllib.loads(instead)
        for name in added.keys() & table.keys():
            text = without_key(text, name, "")
        expected = {name: value for name, value in table.items() if name != key} | added
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the file cannot be read: {error}") from error
    lines = text.split("\n")
    begin = re.compile(rf"[ \t]*(?P<quote>[\"']?){key}(?P=quote)[ \t]*=")
    for start in (number for number, line in enumerate(lines) if begin.match(line)):
        for end in range(start + 1, min(start + MAX_LINES, len(lines)) + 1):
            attempt = "\n".join([*lines[:start], *([instead] if instead else []), *lines[end:]])
            statement = "\n".join(lines[start:end])
            if _reads_as(statement, {key: table[key]}) and _reads_as(attempt, expected):
                return attempt
    raise ConfigError("it is written in a way that Hearth cannot remove")


def _reads_as(text: str, expected: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == expected
    except (ValueError, RecursionError):
        return False
