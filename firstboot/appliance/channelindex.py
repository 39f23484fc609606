"""A channel's index as it is published: JSON within CMS signed-data, one file.

The builder writes it and every appliance reads it, also one that is years older: what such a one
does not know is passed over, and only another ``format`` stops it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from appliance.errors import ConfigError
from appliance.release import INDEX_FORMAT, Index
from appliance.signed import Signed, verify
from appliance.tables import parse_table, to_table, without_unknown

INDEX_NAME, CRL_NAME = "index.cms", "revoked.crl"
# What an appliance reads at most. Some dozens of releases with their notes are a tenth of it, and a
# list of a hundred revoked keys half; more of what only looks like lists would take long to search.
MAX_INDEX, MAX_CRL = 256 * 1024, 16 * 1024
MAX_NOTES = 4000  # characters


def read_index(
    message: bytes, keyring: Path, *, even_revoked: bool = False
) -> tuple[Index, Signed]:
    """What a release key has signed. Its dates are the caller's to check.

    Raises SignatureError (see appliance.signed.verify), and ConfigError for what is signed but no
    index of this format.
    """
    signed = verify(message, keyring, even_revoked=even_revoked)
    return parse_index(signed.content), signed


def parse_index(content: bytes) -> Index:
    where = "the channel's index"
    try:
        table = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not JSON: {content[:40]!r}") from error
    written = table.get("format") if isinstance(table, dict) else None
    if written != INDEX_FORMAT:
        message = f"{where} is of format {written!r}, and this version reads {INDEX_FORMAT} only"
        raise ConfigError(message, hint="update once from a USB stick")
    index = parse_table(Index, without_unknown(Index, table), where=where)
    for text in (index.issued, index.expires, *(one.published for one in index.releases)):
        to_seconds(text)
    return index


def render_index(index: Index) -> bytes:
    return json.dumps(to_table(index), indent=1, ensure_ascii=False).encode() + b"\n"


def to_seconds(text: str) -> float:
    """ISO 8601 with its zone, as seconds since the epoch. Raises ConfigError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"the channel's index: {text!r} is no time") from error
    if moment.tzinfo is None:
        raise ConfigError(f"the channel's index: {text!r} has no time zone")
    return moment.timestamp()


def to_text(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
