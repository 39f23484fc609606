"""What somebody else had RAUC install: for fleets whose server speaks with RAUC itself.

docs/fleet.md has the configuration, with rauc-hawkbit-updater. RAUC has checked the bundle's
signature; what else a release must be is read from the slot that was written. From there on it goes
as with any other update: the owner's hours, trial, verdict, and back if it has to be.

The caller holds services.update.lock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import ConfigError, ImageError, StateError
from appliance.layout import SLOTS, partition_device
from appliance.paths import Paths
from appliance.release import ReleaseFacts
from appliance.run import run
from appliance.tables import parse_table, without_unknown
from appliance.update import Stage, UpdateState
from services import slots
from services.update.choose import parse_version
from services.update.gates import check_facts, check_slots
from services.update.machine import read_machine
from services.update.rauc import Rauc
from services.update.state import load_history, load_update, rolled_back, save_update

SOURCE = "rauc"  # in the state, where the bundle's address would be
FACTS = "/usr/share/hearth/image.json"
READ_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Adopter:
    paths: Paths
    rauc: Rauc = field(default_factory=Rauc)

    def adopt(self, now: float) -> UpdateState | None:
        """What ``find`` finds, as the update's state from now on."""
        state = self.find(now)
        if state is not None:
            save_update(self.paths, state)
        return state

    def find(self, now: float) -> UpdateState | None:
        """The state, INSTALLED; None when RAUC has installed nothing that waits.

        Raises StateError while something is going on, ConfigError for a release that must not be
        started here, ImageError for a slot that is none.
        """
        before, slot = load_update(self.paths), slots.status(self.paths)
        if before.stage is Stage.INSTALLING or self.rauc.look().is_installing:
            raise StateError("an installation is under way", hint="wait for its end: rauc status")
        check_slots(slot, before)
        other = slots.other_slot(slot.booted)
        record = self.rauc.slot(other)
        machine = read_machine(self.paths)
        if record.status != "ok" or not record.version:
            return None
        is_known = before.stage is Stage.INSTALLED and before.manifest == record.manifest
        if is_known or parse_version(record.version) <= parse_version(machine.version):
            return None
        failed = rolled_back(load_history(self.paths), now).get(record.version)
        if failed is not None:
            raise ConfigError(failed, hint="it takes a new version to try again")
        facts = self._read_facts(other)
        if facts.version != record.version:
            message = f"slot {other} holds {facts.version}, and its bundle was of {record.version}"
            raise ImageError(message, hint="build the bundle anew: hearth bundle")
        check_facts(facts, machine)
        return UpdateState(
            stage=Stage.INSTALLED,
            version=facts.version,
            slot=other,
            from_version=machine.version,
            from_slot=slot.booted,
            since=now,
            percent=100,
            source=SOURCE,
            transaction=record.transaction,
            manifest=record.manifest,
        )

    def _read_facts(self, slot: str) -> ReleaseFacts:
        """From its file system, which nobody has to mount for it (debugfs(8))."""
        device: Path = partition_device(slots.booted_disk(self.paths), SLOTS[slot].number)
        said = run(["debugfs", "-R", f"cat {FACTS}", device], check=False, timeout=READ_SECONDS)
        try:
            table = json.loads(said.stdout)["facts"]
            return parse_table(ReleaseFacts, without_unknown(ReleaseFacts, table), where=FACTS)
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            message = f"slot {slot} does not say which release it is"
            raise ImageError(message, hint="is it a Hearth image? install it again") from error
