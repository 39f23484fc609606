"""Reading a bundle without RAUC: its signed manifest, and whether the rest is what that says.

RAUC's `verity` format (manual, "Bundle Formats"): a squashfs, the dm-verity hash tree over it, the
manifest as CMS signed-data, and the size of that in 8 bytes, most significant first.
"""

from __future__ import annotations

import configparser
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.errors import ImageError, SignatureError
from appliance.release import ReleaseFacts, from_meta
from appliance.signed import Signed, verify

MAX_SIGNATURE = 64 * 1024  # RAUC's own bound
BLOCK = 4096
HASH = 32
FANOUT = BLOCK // HASH
HINT = "make it with `hearth bundle`, and copy it whole"


@dataclass(frozen=True, kw_only=True)
class BundleFile:
    """``size`` in bytes, ``sha256`` in hex; both of the whole file."""

    path: Path
    facts: ReleaseFacts
    signed: Signed
    size: int
    sha256: str


def read_bundle(path: Path, keyring: Path) -> BundleFile:
    """Raises SignatureError for a bundle that ``keyring`` does not vouch for, ImageError for one
    that is damaged, cut short or of another format.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end, signed = _read_signature(file, size, path, keyring)
        manifest = _parse_manifest(signed.content, path)
        facts = _read_facts(manifest, path)
        _check_payload(file, end, manifest, path)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return BundleFile(path=path, facts=facts, signed=signed, size=size, sha256=digest)


def _read_signature(file: BinaryIO, size: int, path: Path, keyring: Path) -> tuple[int, Signed]:
    """Where the signature begins, and what it holds."""
    file.seek(max(size - 8, 0))
    length = int.from_bytes(file.read(8), "big")
    begin = size - 8 - length
    if not 0 < length <= MAX_SIGNATURE or begin <= 0:
        raise ImageError(f"{path} is no bundle, or was cut short", hint=HINT)
    file.seek(begin)
    try:
        return begin, verify(file.read(length), keyring)
    except SignatureError as error:
        raise SignatureError(f"{path}: {error.message}", hint=error.hint) from error


def _parse_manifest(content: bytes, path: Path) -> configparser.ConfigParser:
    manifest = configparser.ConfigParser(
        interpolation=None, delimiters=("=",), comment_prefixes=("#",), empty_lines_in_values=False
    )
    manifest.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        manifest.read_string(content.decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ImageError(f"{path}: its manifest cannot be read: {error}", hint=HINT) from error
    if manifest.get("bundle", "format", fallback="plain") != "verity":
        raise ImageError(f"{path}: this is no bundle of the verity format", hint=HINT)
    return manifest


def _read_facts(manifest: configparser.ConfigParser, path: Path) -> ReleaseFacts:
    """What it says of itself, where RAUC says the same. Raises ImageError, ConfigError."""
    if not manifest.has_section("meta.hearth"):
        raise ImageError(f"{path}: its manifest does not say which release it is", hint=HINT)
    facts = from_meta(dict(manifest["meta.hearth"]))
    said = {name: manifest.get("update", name, fallback="") for name in ("version", "compatible")}
    if said != {"version": facts.version, "compatible": facts.compatible}:
        message = f"{path}: its manifest says both {facts.version} and {said['version']},"
        message += f" {facts.compatible} and {said['compatible']}"
        raise ImageError(message, hint=HINT)
    return facts


def _check_payload(
    file: BinaryIO, end: int, manifest: configparser.ConfigParser, path: Path
) -> None:
    """The squashfs and the hash tree after it against the manifest's root hash."""
    try:
        bundle = manifest["bundle"]
        salt, root = (bytes.fromhex(bundle[f"verity-{name}"]) for name in ("salt", "hash"))
        tree_size = int(bundle["verity-size"])
    except (KeyError, ValueError) as error:
        raise ImageError(f"{path}: its manifest has no hash tree: {error}", hint=HINT) from error
    data_size = end - tree_size
    if data_size <= 0 or data_size % BLOCK or tree_size < 0 or tree_size % BLOCK:
        raise ImageError(f"{path} is not as long as its manifest says", hint=HINT)
    file.seek(0)
    found, tree = hash_tree(file, data_size // BLOCK, salt)
    if found != root or tree != file.read(tree_size):
        raise ImageError(f"{path} is damaged: its content is not what was signed", hint=HINT)


def hash_tree(file: BinaryIO, blocks: int, salt: bytes) -> tuple[bytes, bytes]:
    """Root hash and tree of dm-verity (version 1, SHA-256, no superblock) over the next ``blocks``.

    Linux, Documentation/admin-guide/device-mapper/verity.rst: each level holds the salted hashes
    of the blocks below; the highest level, one block, comes first.
    """
    start = hashlib.sha256(salt)

    def digest(block: bytes) -> bytes:
        state = start.copy()
        state.update(block)
        return state.digest()

    level = [digest(file.read(BLOCK)) for _ in range(blocks)]
    tree = b""
    while len(level) > 1:
        groups = [level[at : at + FANOUT] for at in range(0, len(level), FANOUT)]
        written = [b"".join(group).ljust(BLOCK, b"\0") for group in groups]
        tree = b"".join(written) + tree
        level = [digest(block) for block in written]
    return level[0], tree
