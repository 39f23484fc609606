"""Which release of a channel is for this machine: the newest that passes every gate. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from packaging.version import InvalidVersion, Version

from appliance.errors import ConfigError
from appliance.release import COMPATIBLE, Index, Release, ReleaseFacts, is_in_rollout
from services.update.machine import Machine


class Gate(StrEnum):
    """What a release was stopped by, in the order in which they are looked at."""

    VERSION = "version"
    COMPATIBLE = "compatible"
    BOARD = "board"
    MINIMUM = "minimum"
    BOOT_INTERFACE = "boot-interface"
    POSTGRESQL = "postgresql"
    AVOIDED = "avoided"
    PAUSED = "paused"
    ROLLOUT = "rollout"


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """``reason`` is a sentence for the owner."""

    version: str
    gate: Gate
    reason: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """``release`` is None when there is nothing newer for this machine now."""

    release: Release | None = None
    passed_over: tuple[PassedOver, ...] = ()


def choose(
    index: Index,
    machine: Machine,
    *,
    avoid: Mapping[str, str] | None = None,
    wants_it_now: bool = False,
) -> Choice:
    """The newest release that may be installed; what was newer is told with its reason.

    Where the newest one needs a step in between, that step is the newest that passes.
    ``avoid``: versions that failed here, each with a sentence. ``wants_it_now``: the owner asked
    and is not kept waiting for a staged rollout; what is paused stays paused.
    """
    passed_over: list[PassedOver] = []
    for release in sorted(index.releases, key=lambda one: version_of(one.facts), reverse=True):
        if not is_newer(release.facts, machine):
            break
        stopped = gate(release.facts, machine) or _gate_now(
            release, machine, avoid or {}, wants_it_now=wants_it_now
        )
        if stopped is None:
            return Choice(release=release, passed_over=tuple(passed_over))
        passed_over.append(stopped)
    return Choice(passed_over=tuple(passed_over))


def gate(facts: ReleaseFacts, machine: Machine) -> PassedOver | None:
    """Why this machine can never take this release, wherever it comes from; None if it can."""
    version = facts.version
    if not is_newer(facts, machine):
        reason = f"{version} is not newer than {machine.version}, which runs here"
        return PassedOver(version=version, gate=Gate.VERSION, reason=reason)
    if facts.compatible != COMPATIBLE:
        reason = f"{version} is made for {facts.compatible!r}, and this is {COMPATIBLE!r}"
        return PassedOver(version=version, gate=Gate.COMPATIBLE, reason=reason)
    if facts.boards and not machine.is_virtual and not set(facts.boards) & set(machine.boards):
        reason = f"{version} is not made for this board ({machine.model or 'unknown'})"
        return PassedOver(version=version, gate=Gate.BOARD, reason=reason)
    if parse_version(machine.version) < parse_version(facts.minimum):
        reason = f"{version} can be installed from {facts.minimum} on; a version between has to"
        reason += f" come first, and {machine.version} runs here"
        return PassedOver(version=version, gate=Gate.MINIMUM, reason=reason)
    if facts.boot_interface != machine.boot_interface:
        reason = f"{version} needs another start program on the card, which is not updated over"
        reason += " the air: save a recovery file, and flash the card"
        return PassedOver(version=version, gate=Gate.BOOT_INTERFACE, reason=reason)
    if facts.postgresql != machine.postgresql:
        reason = f"{version} comes with PostgreSQL {facts.postgresql}, and the database here is of"
        reason += f" PostgreSQL {machine.postgresql}; it cannot be taken over yet"
        return PassedOver(version=version, gate=Gate.POSTGRESQL, reason=reason)
    return None


def _gate_now(
    release: Release, machine: Machine, avoid: Mapping[str, str], *, wants_it_now: bool
) -> PassedOver | None:
    """Why not now: what was tried here, and the publisher's pace."""
    version = release.facts.version
    if version in avoid:
        return PassedOver(version=version, gate=Gate.AVOIDED, reason=avoid[version])
    if release.rollout.paused:
        reason = f"{version} is held back by its publisher for now"
        return PassedOver(version=version, gate=Gate.PAUSED, reason=reason)
    if not wants_it_now and not is_in_rollout(release.rollout, machine.machine_id, version):
        reason = f"{version} goes to {release.rollout.percent:g} % of all first, and this one is"
        reason += " not among them"
        return PassedOver(version=version, gate=Gate.ROLLOUT, reason=reason)
    return None


def held_back(index: Index, version: str) -> str:
    """Why ``version``, installed already, shall not be started now; empty when it may be.

    A bad release is stopped by this at all machines that have it and wait for their window.
    """
    for release in index.releases:
        if release.facts.version == version:
            return f"{version} is held back by its publisher" if release.rollout.paused else ""
    return f"{version} was withdrawn by its publisher"


def is_newer(facts: ReleaseFacts, machine: Machine) -> bool:
    return version_of(facts) > parse_version(machine.version)


def version_of(facts: ReleaseFacts) -> Version:
    return parse_version(facts.version)


def parse_version(text: str) -> Version:
    """PEP 440. Raises ConfigError."""
    try:
        return Version(text)
    except InvalidVersion as error:
        raise ConfigError(f"{text!r} is no version (PEP 440)") from error
