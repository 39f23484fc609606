"""ReleaseFacts as RAUC's manifest holds them: flat strings in its section [meta.hearth]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from appliance.errors import ConfigError
from appliance.release import ReleaseFacts
from appliance.tables import parse_table

SECTION = "hearth"
NUMBERS = frozenset(field.name for field in fields(ReleaseFacts) if isinstance(field.default, int))


def to_flat(facts: ReleaseFacts) -> dict[str, str]:
    """One string a field; lists separated by spaces. What is empty is left out."""
    flat = {}
    for field in fields(facts):
        value = getattr(facts, field.name)
        text = " ".join(value) if isinstance(value, tuple) else str(value)
        if text:
            flat[field.name] = text
    return flat


def from_flat(flat: Mapping[str, str], *, where: str) -> ReleaseFacts:
    """Raises ConfigError naming ``where``. A later release may say more than we know: passed over.

    Unlike in our own files, a fact that this version does not know is no mistake there.
    """
    table: dict[str, object] = {}
    for field in fields(ReleaseFacts):
        if field.name not in flat:
            continue
        text = flat[field.name]
        if field.name in NUMBERS:
            table[field.name] = _number(text, f"{where}: {field.name}")
        else:
            table[field.name] = text.split() if field.name == "boards" else text
    return parse_table(ReleaseFacts, table, where=where)


def _number(text: str, where: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"{where}: expected a number, found {text!r}")
    return int(text)
