"""What the owner said about the device itself."""

from __future__ import annotations

from dataclasses import dataclass

from firstboot.steps.context import Context
from services.timezone import ensure_timezone, is_timezone


@dataclass(frozen=True)
class SetTimezone:
    name: str = "device"
    title: str = "Setting the time zone"

    def is_done(self, context: Context) -> bool:
        return is_timezone(context.paths, context.settings.device.timezone)

    def apply(self, context: Context) -> None:
        ensure_timezone(context.paths, context.settings.device.timezone)
