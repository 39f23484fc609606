"""What the story of an update hands on from chapter to chapter (update_fixtures.py)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vm.releases import Workshop
from vm.updateserver import UpdateServer

OLD, NEW, NEXT = "1.0.0", "1.1.0", "1.2.0"
NOTES = "The second release."
DENDRITE_KEY = "/data/homeserver/dendrite/signing.key"


@dataclass
class Shop:
    workshop: Workshop
    server: UpdateServer
    bundle: Path


@dataclass(frozen=True)
class Installed:
    """``begin``: how many writes were recorded before. ``share``: of the bundle, downloaded.
    ``state``: what hearthctl said at the end; ``booted``: the start's report after it."""

    begin: int
    share: float
    state: dict[str, Any]
    booted: str


@dataclass(frozen=True)
class Proved:
    """``usual``, ``updating``: the homeserver's silence in an ordinary restart (0: not measured),
    and in that of the update, in seconds. ``key``: the checksum of the signing key."""

    usual: float
    updating: float
    outcome: dict[str, Any]
    messages: list[str]
    key: str
