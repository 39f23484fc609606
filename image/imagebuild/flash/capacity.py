"""Cards that say they are larger than they are.

A fake card takes writes beyond its end and drops them, or lets them fall on an earlier place; it is
found out months later, by its owner's data. Small marks all over the card find it out now. Where
such a card wraps around, it does so at a power of two (f3probe's documentation), so marks lie a
power of two apart as well.
"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.errors import DiskFaultError
from appliance.layout import DATA, GIB
from imagebuild.flash.card import Card, make_buffer
from imagebuild.flash.copy import not_kept

MARK = 4096
BASE = 256 * 1024  # in the first MiB, which is written anew at the end
PARTS = 16
# ext4's superblock: 1024 bytes into the file system, magic at 0x38, volume name at 0x78 (kernel
# documentation, filesystems/ext4/super.rst).
SUPERBLOCK, MAGIC_AT, LABEL_AT, LABEL_SIZE = 1024, 0x38, 0x78, 16
MAGIC = b"\x53\xef"


def holds_data(card: Card) -> bool:
    """Whether an earlier Hearth's data partition lies where the new one will look for it."""
    if card.size < DATA.start + MARK:
        return False
    view = make_buffer(MARK)
    card.read(view, DATA.start)
    return _is_data(bytes(view))


def will_hold_data(node: Path) -> bool:
    """The same of a disk that is not opened for writing yet; False where it cannot be read."""
    try:
        with node.open("rb") as file:
            file.seek(DATA.start)
            return _is_data(file.read(MARK))
    except OSError:
        return False


def _is_data(head: bytes) -> bool:
    block = head[SUPERBLOCK : SUPERBLOCK + MARK // 4]
    label = block[LABEL_AT : LABEL_AT + LABEL_SIZE].rstrip(b"\0")
    return block[MAGIC_AT : MAGIC_AT + 2] == MAGIC and label == DATA.label.encode()


def check_capacity(card: Card) -> None:
    """Write marks, then read them. Raises DiskFaultError. What lay under them is lost."""
    marks = {offset: os.urandom(MARK) for offset in places(card.size)}
    view = make_buffer(MARK)
    # Downwards: where two marks fall on one place, the higher one is the one found wrong.
    for offset in sorted(marks, reverse=True):
        view[:] = marks[offset]
        card.write(view, offset)
    card.sync()
    for offset in sorted(marks):
        card.read(view, offset)
        if view == marks[offset]:
            continue
        if offset == BASE:
            raise not_kept(card, offset)
        raise fake(card, offset)


def places(size: int) -> set[int]:
    """Where marks lie on a disk of ``size`` bytes: evenly, at powers of two, and at its end."""
    step = size // PARTS
    evenly = {step * part // MARK * MARK for part in range(1, PARTS)}
    powers = set()
    distance = GIB
    while BASE + distance + MARK <= size:
        powers.add(BASE + distance)
        distance *= 2
    return {BASE, *evenly, *powers, size // MARK * MARK - MARK}


def fake(card: Card, offset: int) -> DiskFaultError:
    message = (
        f"{card.path.name} says that it holds {card.size / 1e9:.1f} GB, but what is written at"
        f" {offset / 1e9:.1f} GB does not come back"
    )
    hint = "it is a fake or broken: give it back, and use another card"
    return DiskFaultError(message, hint=hint)
