"""What must be so on this appliance before a bundle is installed or started."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.errors import ConfigError, DiskFullError, StateError
from appliance.layout import MIB
from appliance.release import ReleaseFacts
from appliance.update import Stage, UpdateState
from services.slots import SlotStatus
from services.update.choose import gate
from services.update.machine import Machine

# State, journal and RAUC's index of block hashes (25 MB a slot), and what PostgreSQL needs to live.
INSTALL_BYTES = 256 * MIB


def check_facts(facts: ReleaseFacts, machine: Machine) -> None:
    """Raises ConfigError with the reason for which this bundle can never be installed here."""
    stopped = gate(facts, machine)
    if stopped is not None:
        hint = "there is nothing to do: updates for this device come by themselves"
        raise ConfigError(stopped.reason, hint=hint)


def check_slots(slot: SlotStatus, state: UpdateState) -> None:
    """Raises StateError while another version still has to prove itself."""
    if state.stage is Stage.TRIAL:
        message = f"version {state.version} is on trial"
        raise StateError(message, hint="wait for the verdict: hearthctl update status")
    if not slot.committed:
        message = f"the version in slot {slot.booted}, which runs, has not proved itself yet"
        raise StateError(message, hint="wait for the verdict: hearthctl update status")


def check_space(place: Path, *, needed: int = INSTALL_BYTES) -> None:
    """Raises DiskFullError with what is missing."""
    free = free_bytes(place)
    if free < needed:
        message = f"{free // MIB} MiB are free on the card, and an update needs {needed // MIB}"
        raise DiskFullError(message, hint="delete rooms and media that nobody needs")


def free_bytes(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize
