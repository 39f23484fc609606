"""TOML or JSON tables to frozen dataclasses: parsed once at the edge, unknown keys refused."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from appliance.errors import ConfigError

T = TypeVar("T")


def parse_table(cls: type[T], table: Mapping[str, Any], *, where: str) -> T:
    """Make a ``cls`` from ``table``; nested dataclasses, enums, lists as tuples, ``X | None``.

    ``where`` names the file (and section) in messages.
    Raises ConfigError for an unknown key (with did-you-mean), a missing one, or a wrong type.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: expected a table, found {table!r}")
    assert dataclasses.is_dataclass(cls)
    hints = _hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in table:
        if key not in fields:
            raise unknown_key(key, list(fields), where)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in table:
            values[name] = _field(field, hints[name], table[name], f"{where}: {name}")
        elif _is_required(field):
            raise ConfigError(f"{where}: key {name!r} is missing")
    return cls(**values)


@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    """Evaluating them is most of the work, and a job parses the same few classes many times."""
    return typing.get_type_hints(cls)


def _field(field: dataclasses.Field[Any], hint: Any, value: Any, where: str) -> Any:
    """What a dataclass keeps out of its repr is secret, and so no part of a message either."""
    try:
        return _convert(hint, value, where)
    except ConfigError as error:
        if field.repr:
            raise
        hidden = ConfigError(f"{where}: this is not text in quotes", hint=error.hint)
    raise hidden


def unknown_key(key: str, known: list[str], where: str) -> ConfigError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
    return ConfigError(f"{where}: unknown key {key!r}", hint=hint)


def to_table(value: Any) -> dict[str, Any]:
    """The reverse of parse_table: plain dicts and lists for TOML or JSON, None left out."""
    table: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        plain = _plain(getattr(value, field.name))
        if plain is not None:
            table[field.name] = plain
    return table


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_table(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def without_unknown(cls: type[T], table: Any) -> Any:
    """``table`` without the keys that ``cls`` does not know, at every depth: for what a newer
    version may have written, whose fields come with defaults.
    """
    if not isinstance(table, Mapping):
        return table
    assert dataclasses.is_dataclass(cls)
    hints = _hints(cls)
    return {key: _known(hints[key], value) for key, value in table.items() if key in hints}


def _known(hint: Any, value: Any) -> Any:
    """Lists and ``X | None`` of dataclasses as well."""
    if dataclasses.is_dataclass(hint):
        return without_unknown(typing.cast("type[Any]", hint), value)
    arguments = [one for one in typing.get_args(hint) if dataclasses.is_dataclass(one)]
    if not arguments:
        return value
    [inner] = arguments
    if isinstance(value, list):
        return [_known(inner, item) for item in value]
    if typing.get_origin(hint) is dict and isinstance(value, Mapping):
        return {key: _known(inner, item) for key, item in value.items()}
    return _known(inner, value)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        [inner] = [argument for argument in arguments if argument is not type(None)]
        return _convert(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, found {value!r}")
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, found {value!r}")
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return parse_table(typing.cast("type[Any]", hint), value, where=where)
    return _convert_scalar(hint, value, where)


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        names = [member.value for member in hint]
        if value not in names:
            near = difflib.get_close_matches(str(value), names, n=1)
            hint_text = f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(names)}"
            raise ConfigError(f"{where}: {value!r} is not known", hint=hint_text)
        return hint(value)
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{where}: expected {hint.__name__}, found {value!r}")
    return value
