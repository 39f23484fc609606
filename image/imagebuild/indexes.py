"""What may become of a channel's index: each change makes a new one, or is refused. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from packaging.version import InvalidVersion, Version

from appliance.channelindex import to_seconds, to_text
from appliance.errors import ConfigError, StateError, UsageError
from appliance.release import Channel, Index, Release, Rollout

# What is offered besides the newest; appliances that were off for long find their steps anyway.
KEPT = 6
DAY = 86400.0


def empty_index(channel: Channel, now: float, days: float) -> Index:
    return renewed(Index(channel=channel, sequence=0, issued="", expires=""), now, days)


def renewed(index: Index, now: float, days: float) -> Index:
    """As of now. The sequence number is the time, or one more than before where that is higher:
    so it grows as well when a lost site was set up again. Raises StateError for a clock that was
    set back: appliances would take what is signed now for something old.
    """
    if index.issued and now < to_seconds(index.issued) - DAY:
        message = f"it is {to_text(now)} here, and the index before was signed at {index.issued}"
        raise StateError(message, hint="set this machine's clock")
    return replace(
        index,
        sequence=max(int(now), index.sequence + 1),
        issued=to_text(now),
        expires=to_text(now + days * DAY),
    )


def with_release(index: Index, release: Release) -> Index:
    """Raises StateError for what no appliance would take."""
    version = parse_version(release.facts.version)
    newest = newest_version(index)
    if newest is not None and version <= newest:
        message = f"{version} is not newer than {newest}, which {index.channel.value} has already"
        raise StateError(message, hint="a version is used once; give the next build a higher one")
    minimum = parse_version(release.facts.minimum)
    if minimum > version:
        message = f"{version} can be installed from {minimum} on, which comes after it"
        raise StateError(message, hint="correct the profile's minimum")
    if newest is not None and minimum > newest:
        message = f"{version} can be installed from {minimum} on, and {index.channel.value} has no"
        message += f" version that leads there ({newest} is its newest)"
        raise StateError(message, hint="publish the version between first")
    releases = (release, *index.releases)
    return replace(index, releases=pruned(releases))


def pruned(releases: tuple[Release, ...]) -> tuple[Release, ...]:
    """The newest ones, and of the older ones what appliances need to get there.

    That is the newest that is out for all, and the steps: for each ``minimum`` the newest release
    that is old enough to pass it and new enough to be passed to.
    """
    ordered = sorted(releases, key=lambda one: parse_version(one.facts.version), reverse=True)
    kept = ordered[:KEPT]
    for_all = (one for one in ordered if one.rollout.percent >= 100 and not one.rollout.paused)  # noqa: PLR2004 - percent
    needed = next(for_all, None)
    if needed is not None and needed not in kept:
        kept.append(needed)
    for older in ordered:
        barrier = _lowest_minimum(kept)
        if older not in kept and _is_step(older, barrier):
            kept.append(older)
    return tuple(one for one in ordered if one in kept)


def _lowest_minimum(releases: list[Release]) -> Version:
    return min(parse_version(one.facts.minimum) for one in releases)


def _is_step(release: Release, barrier: Version) -> bool:
    """Whether it leads over ``barrier`` somebody who is below it."""
    version, minimum = (parse_version(x) for x in (release.facts.version, release.facts.minimum))
    return minimum < barrier <= version


def with_rollout(
    index: Index, version: str, *, percent: float | None = None, paused: bool | None = None
) -> Index:
    """Raises UsageError, and StateError when there is no such release."""
    if percent is not None and not 0 <= percent <= 100:  # noqa: PLR2004
        raise UsageError(f"{percent:g} is no share in percent", hint="from 0 to 100")

    def change(rollout: Rollout) -> Rollout:
        return Rollout(
            percent=rollout.percent if percent is None else percent,
            paused=rollout.paused if paused is None else paused,
        )

    return _changed(index, version, lambda one: replace(one, rollout=change(one.rollout)))


def _changed(index: Index, version: str, change: Callable[[Release], Release]) -> Index:
    find_release(index, version)
    wanted = parse_version(version)
    return replace(
        index,
        releases=tuple(
            change(one) if parse_version(one.facts.version) == wanted else one
            for one in index.releases
        ),
    )


def find_release(index: Index, version: str) -> Release:
    """Raises StateError naming what there is."""
    wanted = parse_version(version)
    for release in index.releases:
        if parse_version(release.facts.version) == wanted:
            return release
    known = ", ".join(one.facts.version for one in index.releases) or "nothing yet"
    message = f"{index.channel.value} has no release {version}"
    raise StateError(message, hint=f"it has {known}")


def newest_version(index: Index) -> Version | None:
    return max((parse_version(one.facts.version) for one in index.releases), default=None)


def parse_version(text: str) -> Version:
    """PEP 440. Raises ConfigError."""
    try:
        return Version(text)
    except InvalidVersion as error:
        message = f"{text!r} is no version that can be ordered"
        raise ConfigError(message, hint="write one like 1.2.3 or 1.2.3rc1") from error
