"""What this machine is, as far as a release may or may not be made for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ConfigError
from appliance.paths import Paths

# The first "compatible" string of a board's device tree (Linux, arch/arm64/boot/dts/broadcom) and
# the names of image/boards/ that have it. A Pi 5 tells its stepping elsewhere, and needs not to.
BOARDS = {
    "raspberrypi,3-model-b": ("rpi3",),
    "raspberrypi,3-model-b-plus": ("rpi3plus",),
    "raspberrypi,model-zero-2-w": ("rpi-zero2w",),
    "raspberrypi,4-model-b": ("rpi4",),
    "raspberrypi,400": ("rpi400",),
    "raspberrypi,4-compute-module": ("rpi-cm4",),
    "raspberrypi,5-model-b": ("rpi5", "rpi5-d0"),
}
# QEMU's virt brings its own device tree: any release that boots at all boots there.
ANY_BOARD = "linux,dummy-virt"
COMPATIBLE = Path("proc/device-tree/compatible")
MACHINE_ID = Path("etc/machine-id")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """``model`` is the device tree's first compatible string; ``postgresql`` a major version."""

    version: str
    machine_id: str
    model: str
    boot_interface: int
    postgresql: int

    @property
    def boards(self) -> tuple[str, ...]:
        """Its names; none for a board that this version does not know."""
        return BOARDS.get(self.model, ())

    @property
    def is_virtual(self) -> bool:
        return self.model == ANY_BOARD


def read_machine(paths: Paths) -> Machine:
    """Raises ConfigError when the image does not say what it is."""
    try:
        facts = json.loads(paths.image_facts.read_text())
        version, interface = str(facts["version"]), int(facts["boot_interface"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{paths.image_facts} does not tell this version: {error}"
        raise ConfigError(message, hint="flash the card again; the data stays") from error
    return Machine(
        version=version,
        machine_id=_first(paths.root / MACHINE_ID, "\n"),
        model=_first(paths.root / COMPATIBLE, "\0"),
        boot_interface=interface,
        postgresql=int(paths.postgresql.name),
    )


def _first(file: Path, separator: str) -> str:
    try:
        return file.read_text(errors="replace").split(separator)[0].strip()
    except OSError:
        return ""
