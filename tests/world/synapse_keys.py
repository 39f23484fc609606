"""Which keys of a configuration Synapse's own code never asks for: runs beside Synapse.

    PYTHONPATH=/usr/lib/hearth/synapse python3 /scratch/synapse_keys.py FILE...

Synapse ignores keys that it does not know. Here it reads a dictionary that notes what is asked for
(by name, by iteration or by being unpacked), at every depth; the rest is printed as JSON, a file
each. A file that Synapse refuses ends the program.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import yaml
from synapse.config.homeserver import HomeServerConfig


class Noting(dict):  # type: ignore[type-arg]
    """A dictionary that knows which of its keys were asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__({key: noting(value) for key, value in values.items()})
        self.asked: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().setdefault(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        self.asked.add(key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:
        self.asked.update(super().keys())
        return super().__iter__()

    def items(self) -> Any:
        self.asked.update(super().keys())
        return super().items()

    def keys(self) -> Any:  # what ** asks for
        self.asked.update(super().keys())
        return super().keys()


def noting(value: Any) -> Any:
    if isinstance(value, dict):
        return Noting(value)
    return [noting(one) for one in value] if isinstance(value, list) else value


def ignored(value: Any, where: str = "") -> Iterator[str]:
    """Paths of the keys below ``value`` that nobody asked for."""
    if isinstance(value, list):
        for number, one in enumerate(value):
            yield from ignored(one, f"{where}[{number}]")
    if not isinstance(value, Noting):
        return
    for key, one in dict.items(value):
        path = f"{where}.{key}" if where else key
        if key in value.asked:
            yield from ignored(one, path)
        else:
            yield path


def main(files: list[str]) -> None:
    found = {}
    for file in files:
        with open(file) as text:  # noqa: PTH123 - it runs beside Synapse, without our code
            values = noting(yaml.safe_load(text))
        HomeServerConfig().parse_config_dict(values, "/nowhere", "/nowhere")
        found[file] = sorted(ignored(values))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
