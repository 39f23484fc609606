"""hearth.toml on bootfs: what an owner may set before the first start, on any computer.

    claim_code = "seven purple kettles"     # instead of the one that Hearth makes
    ssh_key = "ssh-ed25519 AAAA... anna"    # switches SSH on, for root, with this key only
    ssh_keys = ["...", "..."]
    timezone = "Europe/Berlin"              # what the wizard offers

A mistake never stops the start: it becomes a note on the console and on the pages, and the other
keys still count.
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from dataclasses import dataclass, field, fields
from typing import Any

from appliance.errors import ConfigError, FieldError, HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.tables import parse_table, unknown_key
from appliance.validate import check_timezone
from firstboot.codes import check_preset_code
from services.bootfs import MAX_BYTES, PRESEED_FILE, is_too_large, read_file, write_file

# OpenSSH's public key types (PROTOCOL.*, sshd(8) AUTHORIZED_KEYS); DSA is gone since OpenSSH 10.
KEY = re.compile(
    r"(?P<type>ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)"
    r"|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)"
    r"[ \t]+(?P<blob>[A-Za-z0-9+/]+={0,2})(?:[ \t]+(?P<comment>[^\r\n]*))?"
)
CODE_LINE = re.compile(r"^[ \t]*claim_code[ \t]*=.*$", re.MULTILINE)
MAX_NOTES = 8  # the pages show them all
REDACTED = "# claim_code was used, and Hearth has removed it"


@dataclass(frozen=True, kw_only=True)
class Preseed:
    claim_code: str | None = field(default=None, repr=False)
    ssh_key: str | None = None
    ssh_keys: tuple[str, ...] = ()
    timezone: str | None = None


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The usable part of the file, and a note for each part that is not."""

    claim_code: str | None = field(default=None, repr=False)
    ssh_keys: tuple[str, ...] = ()
    timezone: str | None = None
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
    keys = (*((preseed.ssh_key,) if preseed.ssh_key else ()), *preseed.ssh_keys)
    return Checked(
        claim_code=_kept(check_preset_code, preseed.claim_code, notes),
        timezone=_kept(check_timezone, preseed.timezone, notes),
        ssh_keys=tuple(key for key in (_kept(check_ssh_key, key, notes) for key in keys) if key),
        notes=_first(notes),
    )


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


def redact_claim_code(paths: Paths) -> None:
    """After the claim: the preset code leaves the card, everything else in the file stays."""
    text = read_file(paths, PRESEED_FILE)
    if text is None or not CODE_LINE.search(text):
        return
    redacted = CODE_LINE.sub(REDACTED, text)
    try:
        tomllib.loads(redacted)
        write_file(paths, PRESEED_FILE, redacted)
    except tomllib.TOMLDecodeError:
        # A value over several lines: rather an old code on the card than an owner's file broken.
        logger.warning("the used claim code stays in %s", PRESEED_FILE)
    except StateError as error:
        logger.warning("the used claim code stays in %s: %s", PRESEED_FILE, error.message)
