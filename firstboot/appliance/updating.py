"""What the UI may ask about updates; a part of ``appliance.protocol``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from appliance.answers import Done
from appliance.release import Channel
from appliance.update import Outcome, Stage


@dataclass(frozen=True, kw_only=True)
class GetUpdates:
    """What runs, what is offered and how far an update is. Result: Updating."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class LookForUpdate:
    """Ask the channel now. Result: Done."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class InstallUpdate:
    """Install ``version``, which must be the one that is offered. Result: Done."""

    session: str = field(repr=False)
    version: str


@dataclass(frozen=True, kw_only=True)
class RestartIntoUpdate:
    """Try the installed version now, and not in the owner's window. Result: Done."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SaveUpdating:
    """The owner's wishes (settings.Updates). Result: Done. Raises FieldError("window")."""

    session: str = field(repr=False)
    automatic: bool
    channel: Channel
    window: str


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A release that this appliance may have; ``size`` in bytes, of the whole bundle."""

    version: str
    notes: str = ""
    published: str = ""
    size: int = 0
    from_stick: bool = False


@dataclass(frozen=True, kw_only=True)
class Updating:
    """``version`` and ``slot`` are what was booted. Times in seconds since the epoch, 0 never.

    ``trouble`` is why the last look at the channel, or the last installation, came to nothing;
    ``stick_trouble`` why the last stick did.
    ``is_busy``: a look or an installation is under way. ``has_channel``: the image knows where to
    look; without, updates come on a stick.
    """

    version: str
    slot: str
    stage: Stage = Stage.IDLE
    target: str = ""
    percent: int = 0
    message: str = ""
    offer: Offer | None = None
    has_channel: bool = False
    checked_at: float = 0.0
    trouble: str = ""
    next_step: str = ""
    stick_trouble: str = ""
    stick_hint: str = ""
    is_busy: bool = False
    automatic: bool = True
    channel: Channel = Channel.STABLE
    window: str = ""
    history: tuple[Outcome, ...] = ()


UpdatingRequest = GetUpdates | LookForUpdate | InstallUpdate | RestartIntoUpdate | SaveUpdating
UPDATING_RESULTS: dict[type[Any], type[Any]] = {
    GetUpdates: Updating,
    LookForUpdate: Done,
    InstallUpdate: Done,
    RestartIntoUpdate: Done,
    SaveUpdating: Done,
}
