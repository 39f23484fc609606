"""The first-boot steps, in order: each asks first whether its work is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from appliance.errors import StateError
from appliance.paths import Paths
from appliance.settings import Secrets, Settings, load_secrets, load_settings
from services.homeserver import Homeserver, find_homeserver
from services.units import Units


@dataclass(frozen=True, kw_only=True)
class Context:
    """What steps work with. ``report`` shows the owner what a long step waits for."""

    paths: Paths
    units: Units
    report: Callable[[str], None]
    start_seconds: float

    @property
    def settings(self) -> Settings:
        settings = load_settings(self.paths.settings)
        if settings is None:
            message = f"there are no settings in {self.paths.settings}"
            raise StateError(message, hint="answer the wizard's questions first")
        return settings

    @property
    def secrets(self) -> Secrets:
        return load_secrets(self.paths.secrets)

    @property
    def homeserver(self) -> Homeserver:
        return find_homeserver(self.settings.server.software)


class NotYetError(Exception):
    """The world outside is not ready for this step: setup goes on, and so do the timers."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Step(Protocol):
    """``title`` is what the progress page says while it runs."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def is_done(self, context: Context) -> bool: ...

    def apply(self, context: Context) -> None:
        """Raises HearthError, which ends the run, or NotYetError, which does not."""
        ...
