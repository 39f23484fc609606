"""The rules for what an owner may type; the wizard shows them, the agent enforces them."""

from __future__ import annotations

import ipaddress
import re
import zoneinfo

from appliance.errors import FieldError
from appliance.settings import Reach

# Matrix specification v1.15, appendices: user ID localpart grammar; total length at most 255, of
# which Dendrite takes 254 (dendrite/internal/validate.go). What a homeserver refuses must be
# refused here: once provisioning has begun, the answers cannot be changed any more.
LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
MAX_USER_ID = 254
MAX_LOCALPART = 64
# RFC 1123 section 2.1 labels, at least two of them, and a last one that is not a number.
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
MAX_SERVER_NAME = MAX_USER_ID - len("@:") - MAX_LOCALPART
MIN_PASSWORD = 10
MAX_PASSWORD = 72  # bytes: bcrypt, where Synapse passes over the rest and Dendrite refuses it
MIN_DISTINCT = 5
HIGHEST_PORT = 65535
# All zones once more, with leap seconds and without; and what leads to this machine's own zone.
NO_ZONES = ("posix", "right", "posixrules", "localtime")
COMMON = ("password", "passwort", "motdepasse", "1234567890", "qwertzuiop", "qwertyuiop",
          "raspberry", "hearth", "matrix", "homeserver", "administrator")  # fmt: skip


def is_port(number: int) -> bool:
    """One that TCP or UDP can name and something can listen on."""
    return 0 < number <= HIGHEST_PORT


def check_owner_name(name: str) -> str:
    """The administrator's localpart. Raises FieldError("name")."""
    if not name:
        raise FieldError("name", "Choose a name to sign in with.", hint="for example: anna")
    if name != name.lower() and LOCALPART.fullmatch(name.lower()):
        message = f"{name!r} has capital letters; Matrix names are lower case."
        raise FieldError("name", message, hint=f"use {name.lower()!r}")
    if not LOCALPART.fullmatch(name) or name.startswith(("_", "-", ".")):
        message = f"{name!r} has characters that a Matrix name cannot have."
        hint = "use a to z in lower case, 0 to 9, dot, hyphen and underscore"
        raise FieldError("name", message, hint=hint)
    if name.isdecimal():
        message = f"{name!r} is a number; homeservers keep numbers for guests."
        raise FieldError("name", message, hint=f"add a letter: a{name}")
    if len(name) > MAX_LOCALPART:
        message = f"This name has {len(name)} characters; {MAX_LOCALPART} is the limit."
        raise FieldError("name", message)
    return name


def check_timezone(name: str) -> str:
    """An IANA time zone name. Raises FieldError("timezone")."""
    try:
        # Not zoneinfo.available_timezones(): that opens 600 files.
        known = name.split("/")[0] not in NO_ZONES and zoneinfo.ZoneInfo(name).key == name
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    if not known:
        raise FieldError(
            "timezone", f"{name!r} is not a time zone.", hint="for example: Europe/Berlin"
        )
    return name


def check_password(password: str, *, name: str = "") -> str:
    """Length first, as NIST SP 800-63B advises; no rules of composition. FieldError("password")."""
    if len(password) < MIN_PASSWORD:
        message = f"This password has {len(password)} characters; {MIN_PASSWORD} is the least."
        raise FieldError("password", message, hint="four random words are easy to remember")
    if len(password.encode()) > MAX_PASSWORD:
        message = f"This password is too long: {MAX_PASSWORD} letters and digits are the limit."
        hint = "letters with accents count double, and pictures four times"
        raise FieldError("password", message, hint=hint)
    if any(ord(char) < ord(" ") for char in password):
        raise FieldError("password", "This password has a character that no keyboard types.")
    folded = password.lower()
    rest = folded
    for word in (*COMMON, *([name.lower()] if len(name) > 2 else [])):  # noqa: PLR2004
        rest = rest.replace(word, "")
    if len(set(folded)) < MIN_DISTINCT or len(rest) < 4:  # noqa: PLR2004
        message = "This password is easy to guess."
        raise FieldError("password", message, hint="four random words are easy to remember")
    return password


def check_server_name(name: str, reach: Reach) -> str:
    """A Matrix server name that can serve for good. Raises FieldError("server_name")."""
    field = "server_name"
    if not name:
        raise FieldError(field, "Choose a name for the server.")
    if "://" in name or "/" in name:
        hint = "only the name, without https:// and without a path"
        raise FieldError(field, f"{name!r} is a web address, not a name.", hint=hint)
    if name != name.lower():
        message = f"{name!r} has capital letters; server names are lower case."
        raise FieldError(field, message, hint=f"use {name.lower()!r}")
    if _is_address(name):
        message = f"{name!r} is an IP address; it would bind every account to one connection."
        raise FieldError(field, message, hint="choose a domain name")
    if len(name) > MAX_SERVER_NAME:
        message = f"This name has {len(name)} characters; {MAX_SERVER_NAME} is the limit."
        raise FieldError(field, message)
    labels = name.split(".")
    if len(labels) < 2 or not all(LABEL.fullmatch(label) for label in labels):  # noqa: PLR2004
        hint = "letters, digits and hyphens, with dots between: home.example.org"
        raise FieldError(field, f"{name!r} is not a valid domain name.", hint=hint)
    if labels[-1].isdigit():
        raise FieldError(field, f"{name!r} ends in a number.", hint="choose a domain name")
    if reach is Reach.PUBLIC and labels[-1] in ("local", "lan", "home", "internal", "localhost"):
        message = f"Names under .{labels[-1]} exist only on the home network."
        hint = "for a public server choose a domain, or a free name from a dynamic DNS provider"
        raise FieldError(field, message, hint=hint)
    return name


def _is_address(name: str) -> bool:
    host = name.rsplit(":", 1)[0] if name.count(":") == 1 else name
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
