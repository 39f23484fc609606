"""A QR code on the console, for a phone's camera."""

from __future__ import annotations

import sys

# Two modules a character, light on dark: the only half blocks that every console font has.
HALVES = {(1, 1): " ", (0, 1): "\u2580", (1, 0): "\u2584", (0, 0): "\u2588"}


def print_qr(text: str) -> None:
    import segno

    code = segno.make(text, error="l", micro=False)
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=2)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    for top, low in zip(rows[::2], rows[1::2], strict=True):
        sys.stdout.write("".join(HALVES[pair] for pair in zip(top, low, strict=True)) + "\n")
