"""Which slot was booted, and whether it has proved itself."""

from __future__ import annotations

import json
from dataclasses import dataclass

from services import slots
from services.health.result import CheckResult, Examination, passed, warned


@dataclass(frozen=True)
class SlotCheck:
    name: str = "slot"
    title: str = "System"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        paths = examination.paths
        facts = json.loads(paths.image_facts.read_text()) if paths.image_facts.exists() else {}
        version = facts.get("version", "unknown")
        status = slots.status(paths)
        left = status.left.get(status.booted, 0)
        evidence = f"version {version} runs from slot {status.booted}, {left} attempts left"
        if status.booted != status.primary:
            hint = "the other slot failed to start or was replaced: see the log of failed updates"
            return warned(f"{evidence}; slot {status.primary} comes first", hint)
        if not status.committed:
            return warned(f"{evidence}, on trial", "it commits itself when all goes well")
        return passed(evidence)
