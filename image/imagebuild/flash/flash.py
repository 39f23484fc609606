"""The whole flash, in an order in which every way to fail leaves a card that says so by itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pyudev

from appliance.errors import DiskError, DiskFaultError
from appliance.log import logger
from imagebuild.flash.capacity import check_capacity, holds_data
from imagebuild.flash.card import Card, gone, open_card
from imagebuild.flash.copy import Tell, blank, seal, verify, write_image
from imagebuild.flash.disk import Disk, check_disk, find_disk
from imagebuild.flash.preseed import Preseeder
from imagebuild.flash.progress import Meter
from imagebuild.flash.source import Source, open_stream
from imagebuild.flash.watch import watch_for_removal


@dataclass(frozen=True)
class Flashed:
    """``size`` in bytes; ``ejected`` says that a reader has let its card go."""

    size: int
    ejected: bool


def flash(
    context: pyudev.Context, disk: Disk, source: Source, tools: Path, preseeder: Preseeder | None
) -> Flashed:
    """Write, check, seal, eject. Raises HearthErrors that name the disk."""
    with watch_for_removal(context, disk.name) as pulled, open_card(disk.node) as card:
        check_same(context, disk, source.size or 0)
        try:
            return _flash(card, source, tools, preseeder, pulled)
        except DiskFaultError as error:
            # A reader without its card says "input/output error" before udev says why.
            if pulled.wait(1.0):
                raise gone(disk.name) from error
            raise


def check_same(context: pyudev.Context, disk: Disk, needed: int) -> None:
    """The disk that the person has seen, not another one under the same name. Raises DiskError."""
    now = find_disk(context, disk.name)
    if (now.sequence, now.size, now.model) != (disk.sequence, disk.size, disk.model):
        message = f"{disk.name} is another disk than a moment ago"
        raise DiskError(message, hint="nothing was written; start over")
    check_disk(now, needed)


def _flash(
    card: Card, source: Source, tools: Path, preseeder: Preseeder | None, pulled: threading.Event
) -> Flashed:
    is_kept = holds_data(card)
    blank(card)
    if is_kept:
        logger.info("the card holds the data of an earlier Hearth; it stays")
    else:
        check_capacity(card)
        blank(card)  # one of its marks lies there
    with open_stream(source, tools) as stream:
        meter = Meter("writing", source.to_write, fraction=lambda: stream.done)
        written = write_image(card, source, stream, _attentive(meter, pulled, card))
    meter.finish()
    meter = Meter("checking", written.size)
    verify(card, written, _attentive(meter, pulled, card))
    meter.finish()
    if preseeder is not None:
        preseeder.write(card)
    seal(card, written)
    return Flashed(size=written.size, ejected=card.eject())


def _attentive(meter: Meter, pulled: threading.Event, card: Card) -> Tell:
    """Progress, and an end at once where the card has gone."""

    def tell(count: int) -> None:
        if pulled.is_set():
            raise gone(card.path.name)
        meter.tell(count)

    return tell
