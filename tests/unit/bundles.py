"""A bundle as RAUC writes it, made by hand: so that its parts can be wrong one at a time.

RAUC's manual, "Bundle Formats", verity. Its own bundles are read in the tiers that have RAUC.
"""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

from appliance.release import ReleaseFacts, to_meta
from unit.signing import Signer, sign

BLOCK = 4096


@dataclass
class BundleParts:
    facts: ReleaseFacts
    payload: bytes = b""
    salt: bytes = bytes(range(32))
    bundle: dict[str, str] = field(default_factory=dict)
    update: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # More than one block of hashes, so that the tree has two levels.
        self.payload = self.payload or random.Random(self.facts.version).randbytes(200 * BLOCK)

    def tree(self) -> tuple[bytes, bytes]:
        def hashes(data: bytes) -> bytes:
            blocks = (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
            return b"".join(hashlib.sha256(self.salt + block).digest() for block in blocks)

        level, tree = hashes(self.payload), b""
        while len(level) > 32:
            level += bytes(-len(level) % BLOCK)
            tree = level + tree
            level = hashes(level)
        return level, tree

    def manifest(self) -> bytes:
        root, tree = self.tree()
        sections = {
            "update": {"compatible": self.facts.compatible, "version": self.facts.version,
                       **self.update},
            "bundle": {"format": "verity", "verity-hash": root.hex(),
                       "verity-salt": self.salt.hex(), "verity-size": str(len(tree)),
                       **self.bundle},
            "image.rootfs": {"sha256": "00" * 32, "size": "4096", "filename": "rootfs.img",
                             "adaptive": "block-hash-index;"},
            "meta.hearth": to_meta(self.facts),
        }  # fmt: skip
        return "\n".join(
            f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
            for name, values in sections.items()
        ).encode()

    def render(self, signer: Signer) -> bytes:
        signature = sign(self.manifest(), signer)
        return self.payload + self.tree()[1] + signature + struct.pack(">Q", len(signature))


def make_bundle(place: Path, version: str, signer: Signer, **facts: object) -> Path:
    path = place / f"hearth-{version}-arm64.raucb"
    parts = BundleParts(ReleaseFacts(version=version, **facts))  # type: ignore[arg-type]
    path.write_bytes(parts.render(signer))
    return path
