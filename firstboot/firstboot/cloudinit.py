"""The cloud-init files that Raspberry Pi Imager writes, without cloud-init and without YAML.

Imager makes them line by line (its src/customization_generator.cpp, 2.0.11), always in the same
block style; so reading lines by their indentation gives every value that we want. What is written
otherwise, by hand perhaps, is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# `key: value`, `"key": value`, `- value`; all else (flow lists, literal text) is nothing to us.
ENTRY = re.compile(r'(?P<key>"(?:[^"\\]|\\.)*"|[A-Za-z0-9_.-]+):(?:[ \t]+(?P<value>.*))?')
ITEM = re.compile(r"-[ \t]+(?P<value>.*)")
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "0": "\0"}

Path = tuple[str, ...]


def read_values(text: str) -> Iterator[tuple[Path, str]]:
    """Each scalar with the keys that lead to it; items of a list have the list's path."""
    stack: list[tuple[int, str]] = []
    for line in text.splitlines():
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        depth = len(line) - len(line.lstrip(" "))
        item = ITEM.fullmatch(content)
        # An item may stand below its key at the key's own depth (YAML 1.2.2, section 8.2.1).
        while stack and (stack[-1][0] > depth if item else stack[-1][0] >= depth):
            stack.pop()
        path = tuple(key for _, key in stack)
        if item:
            yield path, unquote(item["value"])
        elif entry := ENTRY.fullmatch(content):
            key = unquote(entry["key"])
            stack.append((depth, key))
            yield (*path, key), unquote(entry["value"] or "")


def unquote(text: str) -> str:
    """A scalar's text; in quotes with its escapes. Bytes of a Wi-Fi name come as ``\\xHH``."""
    text = text.strip()
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':  # noqa: PLR2004 - two quotes
        return text

    def plain(found: re.Match[str]) -> str:
        said = found[1]
        return chr(int(said[1:], 16)) if len(said) > 1 else ESCAPED.get(said, said)

    return ESCAPE.sub(plain, text[1:-1])
