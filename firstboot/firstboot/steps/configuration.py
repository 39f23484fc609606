"""All configuration, rendered and accepted by the programs that will read it."""

from __future__ import annotations

from dataclasses import dataclass

from firstboot.steps.context import Context
from services.configuration import apply_configuration, is_applied


@dataclass(frozen=True)
class WriteConfiguration:
    name: str = "configuration"
    title: str = "Writing and checking the configuration"

    def is_done(self, context: Context) -> bool:
        return is_applied(context.paths)

    def apply(self, context: Context) -> None:
        context.report(f"{context.homeserver.title} looks through its configuration")
        apply_configuration(context.paths, context.units)
