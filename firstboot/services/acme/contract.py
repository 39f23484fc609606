"""When to ask an authority for a certificate: pure decisions, with the clock passed in.

Let's Encrypt's limits (letsencrypt.org/docs/rate-limits): 5 failed validations per account, name
and hour; 5 certificates for the same names in 7 days; 300 orders in 3 hours. We stay far below
them, and what we know of them is kept on the card, so that no restart begins to count anew.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import StrEnum

from appliance.errors import CertificateError, HearthError

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
# Waits after the first, second, ... failure in a row: at most three attempts in the first hour.
WAITS = (10 * MINUTE, 20 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY)
# The same certificate again: never more often, whatever makes us want to.
SAME_NAMES_LIMIT, SAME_NAMES_WINDOW = 3, 7 * DAY
RENEW_SHARE = 1 / 3  # of the lifetime left
JITTER_SHARE = 1 / 30
# Refusals that asking again cannot change; the owner has to change something first.
STOPS = ("rejectedIdentifier", "caa", "unsupportedIdentifier", "unsupported")


class Act(StrEnum):
    NOTHING = "nothing"
    REHEARSE = "rehearse"
    ISSUE = "issue"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What settings ask for. ``method`` is a challenge's kind."""

    names: tuple[str, ...]
    method: str


@dataclass(frozen=True, kw_only=True)
class AcmeState:
    """The job's result. Times are seconds since the epoch, 0 when never.

    ``names`` and ``method`` are those of the last attempt, ``certified`` of the certificate in
    use; ``issues`` are the times of the last certificates. ``stop`` is a refusal that waits for
    the owner.
    """

    names: tuple[str, ...] = ()
    method: str = ""
    certified: tuple[str, ...] = ()
    ends: float = 0.0
    renew_at: float = 0.0
    rehearsed: bool = False
    issues: tuple[float, ...] = ()
    failures: int = 0
    next_attempt: float = 0.0
    stop: str = ""
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``at`` is when to look again; ``why`` is a sentence for the owner."""

    act: Act
    at: float
    why: str


def plan(state: AcmeState, wanted: Wanted, now: float) -> Plan:
    """What to do now. A change of names or method starts anew, but for the limits on orders."""
    state = renewed_for(state, wanted)
    if set(wanted.names) <= set(state.certified) and now < state.renew_at:
        return Plan(act=Act.NOTHING, at=state.renew_at, why="the certificate is good")
    if state.stop:
        return Plan(act=Act.NOTHING, at=now + DAY, why=state.error)
    if now < state.next_attempt:
        return Plan(act=Act.NOTHING, at=state.next_attempt, why=state.error)
    recent = [at for at in state.issues if at > now - SAME_NAMES_WINDOW]
    if len(recent) >= SAME_NAMES_LIMIT:
        again = min(recent) + SAME_NAMES_WINDOW
        why = f"{len(recent)} certificates in a week are as many as we ask for"
        return Plan(act=Act.NOTHING, at=again, why=why)
    if not state.rehearsed:
        return Plan(act=Act.REHEARSE, at=now, why="trying it with the rehearsal server first")
    return Plan(act=Act.ISSUE, at=now, why="asking for the certificate")


def renewed_for(state: AcmeState, wanted: Wanted) -> AcmeState:
    """``state`` without what an earlier wish has to do with; the counts stay."""
    if (state.names, state.method) == (wanted.names, wanted.method):
        return state
    return replace(
        state,
        names=wanted.names,
        method=wanted.method,
        rehearsed=False,
        failures=0,
        next_attempt=0.0,
        stop="",
        error="",
        hint="",
    )


def after_rehearsal(state: AcmeState) -> AcmeState:
    return replace(state, rehearsed=True, failures=0, next_attempt=0.0, error="", hint="")


def after_issue(state: AcmeState, *, starts: float, ends: float, now: float) -> AcmeState:
    """Renewal falls due with a third of the lifetime left, spread so that not all ask at once."""
    life = ends - starts
    jitter = random.uniform(0, life * JITTER_SHARE)
    recent = tuple(at for at in state.issues if at > now - SAME_NAMES_WINDOW)
    return replace(
        state,
        certified=state.names,
        ends=ends,
        renew_at=ends - life * RENEW_SHARE - jitter,
        issues=(*recent, now),
        failures=0,
        next_attempt=0.0,
        stop="",
        error="",
        hint="",
    )


def after_failure(state: AcmeState, error: HearthError, now: float) -> AcmeState:
    """The longer of our own wait and the one that the authority asked for.

    A rehearsal that passed is forgotten when proofs fail: the network is not what it was.
    """
    kind = error.kind if isinstance(error, CertificateError) else "network"
    asked = error.retry_after if isinstance(error, CertificateError) else 0
    wait = max(WAITS[min(state.failures, len(WAITS) - 1)], float(asked))
    return replace(
        state,
        failures=state.failures + 1,
        next_attempt=now + wait,
        rehearsed=state.rehearsed and kind in ("network", "rateLimited", "serverInternal", "slow"),
        stop=kind if kind in STOPS else "",
        error=error.message,
        hint=error.hint or "",
    )
