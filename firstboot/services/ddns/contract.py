"""When a provider may be asked: a pure state machine over the clients' contract.

The rules are Dyn's and No-IP's (help.dyn.com/remote-access-api/policies, noip.com/integrate),
which the others copied: an update only when the address differs from the one last acknowledged, at
most one forced refresh in 28 days, half an hour of silence after 911, and none at all after a
refusal until the owner has acted. All times are seconds since the epoch, because the state
outlives reboots.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from services.ddns.outcome import Kind, Outcome
from services.ddns.provider import DAY, Ipv6, Provider
from services.wan import WanAddresses

HOUR = 3600.0
REFRESH_SECONDS = 28 * DAY
OUTAGE_SECONDS = 30 * 60.0
# Nothing reached the provider, so trying again soon costs it nothing.
UNREACHABLE_SECONDS, UNREACHABLE_LIMIT = 30.0, 15 * 60.0
RETRY_SECONDS, RETRY_LIMIT = 5 * 60.0, 4 * HOUR
# RFC 9110 sets no limit to Retry-After; whoever answers in a provider's place may ask for years.
LONGEST_PAUSE = DAY
# An owner who corrects a typing error waits for no more than this.
OWNER_SECONDS = 60.0
# A router that restarts often has IPv4 long before IPv6.
GONE_SECONDS = HOUR
ACCOUNT_STOPS = (Kind.BADAUTH, Kind.ABUSE, Kind.BADAGENT, Kind.INACTIVE)
# Name servers that answer an old address for longer than this do not just lag behind.
DRIFT_SECONDS = HOUR


@dataclass(frozen=True, kw_only=True)
class ContractState:
    """What must survive a reboot. ``account`` tells whether the owner has changed anything."""

    account: str = ""
    acknowledged: WanAddresses = field(default_factory=WanAddresses)
    acknowledged_at: float = 0.0
    attempted_at: float = 0.0
    refreshed_at: float = 0.0
    missing_since: float = 0.0
    not_before: float = 0.0
    failures: int = 0
    stop: Kind | None = None
    stop_said: str = ""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The facts of this moment.

    ``published`` is what all authoritative servers answer; None when that is not known.
    """

    account: str
    addresses: WanAddresses
    published: WanAddresses | None = None


@dataclass(frozen=True, kw_only=True)
class Update:
    """Ask the provider now."""

    addresses: WanAddresses
    is_refresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Adopt:
    """The world already sees these: take them as acknowledged and ask nobody."""

    addresses: WanAddresses


@dataclass(frozen=True, kw_only=True)
class Wait:
    """There is something to tell the provider, but not before ``until``."""

    until: float
    addresses: WanAddresses


@dataclass(frozen=True, kw_only=True)
class Rest:
    """Nothing to do. ``is_drifted``: somebody else changed the record."""

    is_drifted: bool = False


@dataclass(frozen=True, kw_only=True)
class Stop:
    """The provider has refused; only the owner can go on."""

    kind: Kind
    said: str


Decision = Update | Adopt | Wait | Rest | Stop


def remember(state: ContractState, now: float, account: str) -> ContractState:
    """The state, for this account and this clock."""
    state = _with_clock(state, now)
    if state.account == account:
        return state
    # The owner changed something. What was acknowledged was so for another account.
    if provider_of(state.account) != provider_of(account):
        return ContractState(account=account)
    earliest = state.attempted_at + OWNER_SECONDS if state.attempted_at else 0.0
    if state.failures:
        # A provider in trouble has asked for silence whatever the account.
        earliest = max(earliest, state.not_before)
    return ContractState(account=account, attempted_at=state.attempted_at, not_before=earliest)


def released(state: ContractState, now: float, provider: Provider) -> ContractState:
    """The state after the owner's word that what was refused is mended.

    Also of what a provider, or a stranger in its place, has asked for no more is left than the
    half hour that the rules want after trouble.
    """
    longest = now + max(OUTAGE_SECONDS, provider.min_interval)
    return replace(
        state, stop=None, stop_said="", refreshed_at=0.0, not_before=min(state.not_before, longest)
    )


def provider_of(account: str) -> str:
    """An account's mark begins with its provider (services.ddns.result.account_mark)."""
    return account.partition("/")[0]


def observe(state: ContractState, now: float, wanted: Wanted) -> ContractState:
    """The state, with what has changed around it taken in; ask ``plan`` afterwards."""
    state = remember(state, now, wanted.account)
    before, after = state.acknowledged, wanted.addresses
    is_missing = bool((before.ipv4 and not after.ipv4) or (before.ipv6 and not after.ipv6))
    if not is_missing:
        return replace(state, missing_since=0.0)
    return state if state.missing_since else replace(state, missing_since=now)


def plan(state: ContractState, now: float, wanted: Wanted, provider: Provider) -> Decision:
    """What the contract allows now."""
    if state.stop is not None:
        return Stop(kind=state.stop, said=state.stop_said)
    target = _target(state, now, wanted.addresses, provider)
    if not target.known:
        return Rest()
    is_refresh = False
    if target == state.acknowledged:
        is_drifted = now - state.acknowledged_at >= DRIFT_SECONDS and not (
            wanted.published is None or _shows(wanted.published, target, provider)
        )
        if not (is_drifted or _is_expiring(state, now, provider)):
            return Rest()
        if state.refreshed_at and now - state.refreshed_at < REFRESH_SECONDS:
            return Rest(is_drifted=is_drifted)
        is_refresh = True
    elif (
        not state.acknowledged.known
        and wanted.published is not None
        and _shows(wanted.published, target, provider)
    ):
        return Adopt(addresses=target)
    earliest = state.not_before
    if state.attempted_at and state.not_before <= state.attempted_at:
        earliest = state.attempted_at + provider.min_interval
    if now < earliest:
        return Wait(until=earliest, addresses=target)
    return Update(addresses=target, is_refresh=is_refresh)


def begin(state: ContractState, now: float) -> ContractState:
    """To be saved before the request: a power cut must not lead to a second one at once."""
    return replace(state, attempted_at=now, not_before=0.0)


def adopt(state: ContractState, now: float, decision: Adopt) -> ContractState:
    return replace(state, acknowledged=decision.addresses, acknowledged_at=now)


def conclude(
    state: ContractState, now: float, decision: Update, outcome: Outcome, provider: Provider
) -> ContractState:
    """The state after the provider's answer."""
    if outcome.is_done:
        return replace(
            state,
            acknowledged=decision.addresses,
            acknowledged_at=now,
            refreshed_at=now if decision.is_refresh else state.refreshed_at,
            missing_since=0.0,
            not_before=0.0,
            failures=0,
        )
    return refused(state, now, outcome, provider)


def refused(
    state: ContractState, now: float, outcome: Outcome, provider: Provider
) -> ContractState:
    """The state after an answer that is not what was asked for, whatever that was."""
    if outcome.is_stop:
        return replace(state, stop=outcome.kind, stop_said=outcome.said, failures=0)
    failures = state.failures + 1
    asked = min(outcome.retry_after, LONGEST_PAUSE)
    pause = max(_pause(outcome.kind, failures, provider), asked)
    return replace(state, failures=failures, not_before=now + pause)


def refused_aside(
    state: ContractState, now: float, outcome: Outcome, provider: Provider
) -> ContractState:
    """The state after something else than an update was refused, such as a TXT record.

    What the provider holds against the account it would hold against an update too; that it has
    no such record, or not for this token, is no reason to stop following the address.
    """
    if outcome.is_stop and outcome.kind not in ACCOUNT_STOPS:
        return state
    return refused(state, now, outcome, provider)


def _pause(kind: Kind, failures: int, provider: Provider) -> float:
    doubled = 2.0 ** min(failures - 1, 20)
    if kind is Kind.UNREACHABLE:
        pause = min(UNREACHABLE_SECONDS * doubled, UNREACHABLE_LIMIT)
    elif kind is Kind.OUTAGE:
        pause = min(OUTAGE_SECONDS * doubled, RETRY_LIMIT)
    else:
        pause = min(RETRY_SECONDS * doubled, RETRY_LIMIT)
    return max(pause, provider.min_interval)


def _target(
    state: ContractState, now: float, addresses: WanAddresses, provider: Provider
) -> WanAddresses:
    """What the name shall lead to; a family that is gone stays for a while, or for good."""
    before = state.acknowledged
    is_gone = bool(state.missing_since) and now - state.missing_since >= GONE_SECONDS
    keeps = not (is_gone and provider.removes)
    ipv4 = addresses.ipv4 or (before.ipv4 if keeps else None)
    ipv6 = addresses.ipv6 or (before.ipv6 if keeps else None)
    return WanAddresses(ipv4=ipv4, ipv6=None if provider.ipv6 is Ipv6.NONE else ipv6)


def _shows(published: WanAddresses, target: WanAddresses, provider: Provider) -> bool:
    """Whether no update could improve on what is published."""
    pairs = ((published.ipv4, target.ipv4), (published.ipv6, target.ipv6))
    return all(seen == aim or (aim is None and not provider.removes) for seen, aim in pairs)


def _is_expiring(state: ContractState, now: float, provider: Provider) -> bool:
    return provider.refresh is not None and now - state.acknowledged_at >= provider.refresh


def _with_clock(state: ContractState, now: float) -> ContractState:
    """A Pi has no clock: times that lie ahead were noted by a wrong one."""
    if state.attempted_at <= now and state.acknowledged_at <= now:
        return state
    return shifted(state, now - max(state.attempted_at, state.acknowledged_at))


def shifted(state: ContractState, seconds: float) -> ContractState:
    """The state after the clock was set; 0 stays 0, which is "never"."""

    def shift(moment: float) -> float:
        return max(moment + seconds, 0.0) if moment else 0.0

    return replace(
        state,
        attempted_at=shift(state.attempted_at),
        acknowledged_at=shift(state.acknowledged_at),
        refreshed_at=shift(state.refreshed_at),
        missing_since=shift(state.missing_since),
        not_before=shift(state.not_before),
    )
