"""U-Boot's `env import` and `env export` for bootscript.py; started often, so with few imports."""

from __future__ import annotations

import sys
import zlib


def load(file: str, names: list[str]) -> int:
    with open(file, "rb") as stream:  # noqa: PTH123
        raw = stream.read()
    if int.from_bytes(raw[:4], "little") != zlib.crc32(raw[4:]):
        return 1
    entries = raw[4:].split(b"\0\0")[0].decode().split("\0")
    for entry in entries:
        name, _, value = entry.partition("=")
        if name in names:
            sys.stdout.write(f'{name}="{value}"\n')
    return 0


def save(file: str, values: str) -> int:
    """U-Boot sorts by name, and leaves out what is empty."""
    entries = sorted(entry for entry in values.split("|") if not entry.endswith("=") and entry)
    body = b"".join(entry.encode() + b"\0" for entry in entries).ljust(4092, b"\0")
    with open(file, "wb") as stream:  # noqa: PTH123
        stream.write(zlib.crc32(body).to_bytes(4, "little") + body)
    return 0


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    sys.exit(load(where, rest) if what == "import" else save(where, rest[0]))
