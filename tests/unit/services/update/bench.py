"""An appliance with a card of two slots and a bus on which RAUC answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.paths import Paths
from appliance.release import ReleaseFacts, to_meta
from appliance.settings import Device, Owner, Server, Settings, save_toml
from appliance.slotstate import INITIAL
from services.update.install import Installer, Wanted
from unit.clock import StillClock
from unit.services.appliance_files import RecordedUnits
from unit.services.test_slot_cuts import make_card
from unit.services.update.played import write_busctl

FACTS = ReleaseFacts(version="1.1", boards=("rpi4",), minimum="0.9")
URL = "https://updates.example.org/releases/1.1/hearth-1.1.raucb"
SETTINGS = Settings(
    owner=Owner(name="anna"), device=Device(), server=Server(name="home.example.org")
)


@dataclass(frozen=True)
class Bench:
    paths: Paths
    rauc: Path

    def bundle(self, source: str, facts: ReleaseFacts = FACTS, **said: Any) -> None:
        """A bundle that RAUC finds at ``source``."""
        update = {"version": facts.version, "compatible": facts.compatible}
        known = self.read("bundles")
        known[source] = {
            "update": update,
            "manifest": f"hash of {facts.version}",
            "meta": to_meta(facts),
            **said,
        }
        self.write("bundles", known)

    def plan(self, **what: Any) -> None:
        """What the next installation will do."""
        self.write("plan", what)

    def read(self, name: str) -> Any:
        file = self.rauc / f"{name}.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def write(self, name: str, value: Any) -> None:
        (self.rauc / f"{name}.json").write_text(json.dumps(value))


def make_bench(root: Path, monkeypatch: pytest.MonkeyPatch, *, slot: str = "A") -> Bench:
    paths = make_card(root / "appliance", slot, INITIAL)
    rauc = root / "rauc"
    rauc.mkdir()
    write_busctl(rauc)
    monkeypatch.setenv("PATH", f"{rauc}:/usr/bin:/bin")
    paths.hearth.mkdir(parents=True)
    paths.image_facts.parent.mkdir(parents=True)
    paths.image_facts.write_text(json.dumps({"version": "1.0", "boot_interface": 1}))
    for name, text in (("proc/device-tree/compatible", "raspberrypi,4-model-b\0"),
                       ("etc/machine-id", "0123456789abcdef0123456789abcdef\n")):  # fmt: skip
        (paths.root / name).parent.mkdir(parents=True, exist_ok=True)
        (paths.root / name).write_text(text)
    return Bench(paths, rauc)


def make_installed(root: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Set up, and with the bundle at URL installed: a version that waits for its restart."""
    made = make_bench(root, monkeypatch)
    made.bundle(URL)
    made.paths.system.mkdir()
    save_toml(SETTINGS, made.paths.settings, mode=0o640)
    installer = Installer(made.paths, units=RecordedUnits(), clock=StillClock())
    installer.install(Wanted(source=URL))
    return made
