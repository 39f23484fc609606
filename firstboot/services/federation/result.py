"""What the check of our own server leaves behind, for the pages, doctor and the agent.

Loads next to nothing: the agent reads this, and stays small.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.answers import Judgement

RESULT = "federation"
MEMORY = "federation-tester"


class Cause(StrEnum):
    """What decided."""

    GOOD = "good"
    INSIDE_ONLY = "inside-only"
    PARTLY = "partly"
    NO_CERTIFICATE = "no-certificate"
    NO_DNS = "no-dns"
    NO_ADDRESS = "no-address"
    PRIVATE_ADDRESS = "private-address"
    WRONG_ADDRESS = "wrong-address"
    WELL_KNOWN = "well-known"
    CERTIFICATE = "certificate"
    HOMESERVER_DOWN = "homeserver-down"
    KEYS = "keys"
    NOTHING_ARRIVES = "nothing-arrives"
    CLOSED = "closed"
    REFUSED = "refused"
    OTHER_MACHINE = "other-machine"
    OUTSIDE = "outside"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that was looked at: what was seen, and whether it is as it must be."""

    name: str
    title: str
    judgement: Judgement
    detail: str


@dataclass(frozen=True, kw_only=True)
class FederationResult:
    """``at`` and ``asked`` (the tester, 0 for never) are seconds since the epoch.

    ``seen_from_outside``: the judgement rests on what somebody outside saw. ``news`` is the state
    of ours that was looked at.
    """

    name: str
    at: float
    judgement: Judgement
    cause: Cause
    sentence: str
    next_step: str = ""
    seen_from_outside: bool = False
    asked: float = 0.0
    news: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
