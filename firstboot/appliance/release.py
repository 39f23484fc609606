"""What a release says of itself: in its bundle's manifest, in a channel's index and in its slot.

The same few facts in all three places, so that the appliance can refuse a release before it
downloads anything, and check after it what the bundle's own signature vouches for.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.errors import ConfigError

COMPATIBLE = "hearth-arm64"  # RAUC's word for "made for this kind of system"
INDEX_FORMAT = 1
BUCKETS = 10_000


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts:
    """``minimum``: the oldest version that may update to it (PEP 440, as all versions here).

    ``boot_interface`` is boot.scr's, ``postgresql`` a major version. ``synapse_schema`` is the
    database schema that its Synapse writes, ``synapse_compatible`` the oldest schema version whose
    code can still read that (SCHEMA_VERSION and SCHEMA_COMPAT_VERSION of
    synapse/storage/schema/__init__.py). Dendrite declares nothing of the kind.
    """

    version: str
    compatible: str = COMPATIBLE
    boards: tuple[str, ...] = ()
    minimum: str = "0"
    boot_interface: int = 1
    postgresql: int = 17
    synapse: str = ""
    synapse_schema: int = 0
    synapse_compatible: int = 0
    dendrite: str = ""


def to_meta(facts: ReleaseFacts) -> dict[str, str]:
    """As a RAUC manifest's [meta.hearth] holds them: flat, no empty value, no underscore."""
    texts = {name: _text(getattr(facts, name)) for name in _FIELDS}
    return {name.replace("_", "-"): text for name, text in texts.items() if text}


def from_meta(meta: Mapping[str, str]) -> ReleaseFacts:
    """The reverse. Facts that only later versions know are passed over. Raises ConfigError."""
    known = {
        name: meta[name.replace("_", "-")] for name in _FIELDS if name.replace("_", "-") in meta
    }
    try:
        return ReleaseFacts(**{name: _value(name, text) for name, text in known.items()})
    except (TypeError, ValueError) as error:
        message = f"the bundle does not say what it holds: {error}"
        raise ConfigError(message, hint="it was not made by `hearth bundle`") from error


def _text(value: str | int | tuple[str, ...]) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _value(name: str, text: str) -> Any:
    default = _FIELDS[name].default
    if isinstance(default, tuple):
        return tuple(text.split())
    return int(text) if isinstance(default, int) else text


_FIELDS = {field.name: field for field in dataclasses.fields(ReleaseFacts)}


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """``url`` is relative to the index, or absolute; ``size`` in bytes, ``sha256`` in hex."""

    url: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How many of the appliances may have it, in percent; none more while it is paused."""

    percent: float = 100.0
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class Release:
    """``published`` as ISO 8601 in UTC; ``notes`` is plain text for the owner."""

    facts: ReleaseFacts
    bundle: Bundle
    published: str
    notes: str = ""
    rollout: Rollout = field(default_factory=Rollout)


class Channel(StrEnum):
    STABLE = "stable"
    BETA = "beta"


@dataclass(frozen=True, kw_only=True)
class Index:
    """A channel's list of releases, newest first. ``sequence`` only ever grows.

    ``issued`` and ``expires`` are ISO 8601 in UTC. An appliance takes no older sequence than it has
    seen, and believes no index after its end: whoever holds back news would be noticed.
    """

    format: int = INDEX_FORMAT
    channel: Channel
    sequence: int
    issued: str
    expires: str
    releases: tuple[Release, ...] = ()


def bucket(machine_id: str, version: str) -> int:
    """0 to 9999: the place of this machine in the staged rollout of this release.

    Another one for each release, so that the same few are not always the first.
    """
    digest = hashlib.sha256(f"{machine_id}:{version}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def is_in_rollout(rollout: Rollout, machine_id: str, version: str) -> bool:
    if rollout.paused:
        return False
    return bucket(machine_id, version) < rollout.percent / 100 * BUCKETS
