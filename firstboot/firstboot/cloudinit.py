"""The cloud-init files that Raspberry Pi Imager writes, without cloud-init and without YAML.

Imager makes them line by line (its src/customization_generator.cpp, 1.8 to 2.0.11), always in the
same block style; so reading lines by their indentation gives every value that we want. What is
written otherwise, by hand perhaps, is passed over with all that stands below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# `key: value`, `"key": value`, `- value`; all else (flow lists, literal text) is nothing to us.
QUOTED = r'"(?:[^"\\]|\\.)*"|' + r"'(?:[^']|'')*'"
ENTRY = re.compile(rf"(?P<key>{QUOTED}|[A-Za-z0-9_.-]+):(?:[ \t]+(?P<value>.*))?")
ITEM = re.compile(r"-[ \t]+(?P<value>.*)")
COMMENT = re.compile(r"[ \t]+#.*")
WHOLE = re.compile(rf"(?P<text>{QUOTED})(?:{COMMENT.pattern})?")
# A character in quotes, or the bytes of one: Imager escapes each byte beyond ASCII for itself.
ESCAPED_BYTES = re.compile(r"(?:\\x[0-9a-fA-F]{2})+|\\.")
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "0": "\0"}

Path = tuple[str, ...]


def read_values(text: str) -> Iterator[tuple[Path, str]]:
    """Each scalar with the keys that lead to it; items of a list have the list's path.

    Bytes that are no UTF-8 come as lone surrogates (PEP 383).
    """
    stack: list[tuple[int, str | None]] = []  # None: a line that could not be read
    for line in text.splitlines():
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        depth = len(line) - len(line.lstrip(" "))
        item = ITEM.fullmatch(content)
        # An item may stand below its key at the key's own depth (YAML 1.2.2, section 8.2.1).
        while stack and (stack[-1][0] > depth if item else stack[-1][0] >= depth):
            stack.pop()
        entry = None if item else ENTRY.fullmatch(content)
        if not item:
            stack.append((depth, unquote(entry["key"]) if entry else None))
        path = tuple(key for _, key in stack if key is not None)
        if len(path) == len(stack):
            found = item or entry
            assert found is not None
            yield path, unquote(found["value"] or "")


def unquote(text: str) -> str:
    """A scalar's text, without a comment behind it; in quotes with its escapes."""
    text = text.strip()
    whole = WHOLE.fullmatch(text)
    if whole is None:
        return COMMENT.sub("", text)
    quoted = whole["text"]
    if quoted[0] == "'":
        return quoted[1:-1].replace("''", "'")

    def plain(found: re.Match[str]) -> str:
        said = found[0]
        if said.startswith(r"\x"):
            return bytes.fromhex(said.replace(r"\x", "")).decode("utf-8", "surrogateescape")
        return ESCAPED.get(said[1], said[1])

    return ESCAPED_BYTES.sub(plain, quoted[1:-1])
