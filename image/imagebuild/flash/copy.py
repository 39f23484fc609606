"""Writing an image's ranges and reading them back.

The first MiB, with the partition table, comes last: a card whose writing was cut short starts
nothing at all, rather than something half new.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from appliance.errors import DiskError, DiskFaultError, HashMismatchError, ImageError
from appliance.layout import MIB
from imagebuild.flash.blockmap import ALIGNMENT
from imagebuild.flash.card import Card, make_buffer
from imagebuild.flash.source import Source, Stream, ends_early

CHUNK = 4 * MIB
HEAD = MIB
BUFFERS = 4

# Told how many more bytes are done; may raise to stop the work.
Tell = Callable[[int], None]


@dataclass(frozen=True)
class Piece:
    """One write. ``digest`` is that of its range from its start to the end of this piece, so that
    a difference is found where it begins, for the price of one hash."""

    offset: int
    length: int
    digest: bytes
    is_first: bool


@dataclass(frozen=True)
class Written:
    """What lies on the card now, but for ``head``, its first MiB, which ``seal`` writes."""

    pieces: tuple[Piece, ...]
    head: bytes

    @property
    def size(self) -> int:
        return sum(piece.length for piece in self.pieces)


def blank(card: Card) -> None:
    """From here on the card starts nothing: its old partition table is gone."""
    card.write(make_buffer(HEAD), 0)
    card.sync()


def write_image(card: Card, source: Source, stream: Stream, tell: Tell) -> Written:
    """Raises HashMismatchError and ImageError for the image, DiskError and its like for the card.

    One thread reads and hashes while another one writes; each buffer waits for its last write.
    """
    pieces: list[Piece] = []
    head = bytearray(HEAD)
    buffers = deque(make_buffer(CHUNK) for _ in range(BUFFERS))
    pending: deque[tuple[Future[None], int]] = deque()

    def finish_one() -> None:
        future, length = pending.popleft()
        future.result()
        tell(length)

    with ThreadPoolExecutor(1) as writer:
        for piece, content in _read_pieces(source, stream, buffers):
            if piece.offset + piece.length > card.size:
                message = f"{card.path.name} is smaller than the image"
                raise DiskError(message, hint="use a larger card")
            pieces.append(piece)
            if piece.offset < HEAD:
                head[piece.offset : piece.offset + piece.length] = content
                continue
            pending.append((writer.submit(card.write, content, piece.offset), piece.length))
            if len(pending) == BUFFERS - 1:
                finish_one()
        while pending:
            finish_one()
    card.sync()
    return Written(tuple(pieces), bytes(head))


def _read_pieces(
    source: Source, stream: Stream, buffers: deque[memoryview]
) -> Iterator[tuple[Piece, memoryview]]:
    """All ranges in pieces, each in the buffer whose turn it is."""
    position = 0
    for part in source.ranges:
        stream.skip(part.start - position)
        position = part.start
        running = hashlib.sha256()
        while part.end is None or position < part.end:
            limit = CHUNK if position >= HEAD else HEAD - position
            wanted = limit if part.end is None else min(limit, part.end - position)
            buffers.rotate(-1)
            content = buffers[0][:wanted]
            count = stream.fill(content)
            if count < wanted and (part.end is not None or count % ALIGNMENT):
                raise ends_early(source.image)
            if count == 0:
                break
            running.update(content[:count])
            piece = Piece(position, count, running.digest(), position == part.start)
            yield piece, content[:count]
            position += count
        if part.sha256 is not None and running.hexdigest() != part.sha256:
            name = source.block_map.name if source.block_map else "its block map"
            message = f"{source.image.name} is not the image that {name} describes"
            raise HashMismatchError(message, hint="take both from the same build or download")
    if position == 0:
        raise ImageError(f"{source.image.name} is empty", hint="build or download it again")


def verify(card: Card, written: Written, tell: Tell) -> None:
    """Read everything back. Raises DiskFaultError where other bytes come than were written."""
    buffers = (make_buffer(CHUNK), make_buffer(CHUNK))
    on_card = [piece for piece in written.pieces if piece.offset >= HEAD]
    with ThreadPoolExecutor(1) as reader:

        def start(index: int) -> Future[None] | None:
            if index >= len(on_card):
                return None
            piece = on_card[index]
            view = buffers[index % 2][: piece.length]
            return reader.submit(card.read, view, piece.offset)

        running = hashlib.sha256()
        index, coming = 0, start(0)
        for piece in written.pieces:
            if piece.is_first:
                running = hashlib.sha256()
            if piece.offset < HEAD:
                running.update(written.head[piece.offset : piece.offset + piece.length])
                continue
            assert coming is not None
            coming.result()
            coming, content = start(index + 1), buffers[index % 2][: piece.length]
            index += 1
            running.update(content)
            if running.digest() != piece.digest:
                raise not_kept(card, piece.offset)
            tell(piece.length)


def seal(card: Card, written: Written) -> None:
    """Write the first MiB, which makes the card one that starts."""
    view = make_buffer(HEAD)
    view[:] = written.head
    card.write(view, 0)
    card.sync()
    again = make_buffer(HEAD)
    card.read(again, 0)
    if again != view:
        raise not_kept(card, 0)


def not_kept(card: Card, offset: int) -> DiskFaultError:
    message = (
        f"{card.path.name} does not keep what is written: at {offset / 1e9:.2f} GB of"
        f" {card.size / 1e9:.1f} GB other bytes came back"
    )
    hint = "the card is worn out or a fake, or its reader is bad: use another card"
    return DiskFaultError(message, hint=hint)
