"""An installation as RAUC makes it from a streamed bundle with a block-hash-index, byte for byte.

After rauc 1.13, src/update_handler.c, copy_block_hash_index_image_to_dev(): for each 4 KiB of the
new slot its hash is looked up in what was written already, in the old content of the target slot,
in the booted slot, and only then is it read from the bundle. The bundle is a squashfs, so that a
block costs the whole compressed squashfs block around it. dm-verity reads the hash tree in clusters
(256 KiB), so all of it is counted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySquashfsImage import SquashFsImage

from benchmarks.remote import BLOCK, RemoteFile

HASH = 32
ZERO = hashlib.sha256(bytes(BLOCK)).digest()
SIZE_FIELD = 8  # at a bundle's end: the signature's length, big endian
INVALID, COMPRESSED_SIZE = 0xFFFFFFFF, (1 << 24) - 1  # of squashfs' block lists


@dataclass(frozen=True, kw_only=True)
class Installed:
    """Blocks of 4 KiB of the new slot by where they came from; ``index`` in bytes."""

    zero: int
    local: int
    fetched: int
    index: int
    sha256: str


class Blocks:
    """A file inside a squashfs that is read in any order, a compressed block at a time."""

    def __init__(self, image: SquashFsImage, name: str) -> None:
        self.image = image
        inode = image.find(name).inode
        self.size: int = inode.data
        self.block_size: int = image.sblk.block_size
        sizes = image._read_block_list(inode.block_start, inode.block_offset, inode.blocks)
        self.places: list[tuple[int, int]] = []
        at = inode.start
        for size in sizes:
            self.places.append((at, size))
            at += 0 if size == INVALID else size & COMPRESSED_SIZE
        self._tail = b""
        if inode.frag_bytes:
            start, size = image._read_fragment(inode.fragment)
            whole = image._read_data_block(start, size)
            self._tail = whole[inode.offset : inode.offset + inode.frag_bytes]

    def read(self, offset: int, length: int) -> bytes:
        """Within one squashfs block."""
        number, within = divmod(offset, self.block_size)
        if number >= len(self.places):
            return self._tail[within : within + length]
        start, size = self.places[number]
        if size == 0:
            return bytes(length)
        return bytes(self.image._read_data_block(start, size)[within : within + length])

    def read_all(self) -> bytes:
        step = self.block_size
        parts = (self.read(at, min(step, self.size - at)) for at in range(0, self.size, step))
        return b"".join(parts)


def index_of(path: Path) -> dict[bytes, tuple[Path, int]]:
    """Where each 4 KiB of a file is, by its SHA-256."""
    found: dict[bytes, tuple[Path, int]] = {}
    with path.open("rb") as file:
        for number in range(os.fstat(file.fileno()).st_size // BLOCK):
            digest = hashlib.sha256(file.read(BLOCK)).digest()
            found.setdefault(digest, (path, number * BLOCK))
    return found


def install(
    url: str, seeds: Sequence[Path], target: Path, *, without: Iterable[bytes] = ()
) -> Installed:
    """Write the new slot to ``target`` from the bundle at ``url`` and what ``seeds`` hold.

    ``without`` are hashes of blocks to pass over in the seeds, as if they had changed.
    """
    local: dict[bytes, tuple[Path, int]] = {}
    for seed in seeds:
        local |= index_of(seed)
    for digest in without:
        local.pop(digest, None)
    with RemoteFile(url) as remote:
        _read_envelope(remote)
        with SquashFsImage(remote, closefd=False) as image:
            slot = Blocks(image, "rootfs.ext4")
            hashes = Blocks(image, "rootfs.ext4.block-hash-index").read_all()
            return _copy(slot, hashes, local, target)


def _copy(
    slot: Blocks, hashes: bytes, local: dict[bytes, tuple[Path, int]], target: Path
) -> Installed:
    zero = kept = fetched = 0
    whole = hashlib.sha256()
    files = {path: path.open("rb") for path in {path for path, _ in local.values()}}
    with target.open("wb+") as file:
        files[target] = file
        for number in range(len(hashes) // HASH):
            digest = hashes[number * HASH : (number + 1) * HASH]
            if digest == ZERO:
                zero, data = zero + 1, bytes(BLOCK)
            elif digest in local:
                path, at = local[digest]
                kept, data = kept + 1, os.pread(files[path].fileno(), BLOCK, at)
            else:
                fetched, data = fetched + 1, slot.read(number * BLOCK, BLOCK)
                local[digest] = (target, number * BLOCK)
            if hashlib.sha256(data).digest() != digest:
                raise OSError(f"block {number} is not what the index says")
            os.pwrite(file.fileno(), data, number * BLOCK)
            whole.update(data)
    for opened in files.values():
        opened.close()
    return Installed(
        zero=zero, local=kept, fetched=fetched, index=len(hashes), sha256=whole.hexdigest()
    )


def _read_envelope(remote: RemoteFile) -> None:
    """The signature at the end, and the hash tree before it."""
    remote.seek(-SIZE_FIELD, os.SEEK_END)
    length = int.from_bytes(remote.read(SIZE_FIELD), "big")
    remote.seek(-SIZE_FIELD - length, os.SEEK_END)
    signature = remote.read(length)
    _, _, rest = signature.partition(b"\nverity-size=")
    tree = int(rest.split(b"\n", 1)[0])
    remote.seek(-SIZE_FIELD - length - tree, os.SEEK_END)
    remote.read(tree)
