"""What RAUC must know before it starts: which partitions are the slots, and whom to believe."""

from __future__ import annotations

from pathlib import Path

from appliance.atomic import write_atomic
from appliance.layout import SLOTS, partition_device
from appliance.paths import Paths
from appliance.release import COMPATIBLE
from services.render import Action, Template, render_templates
from services.slots import booted_disk
from services.update.hashindex import note_flashed
from services.update.keyring import EFFECTIVE, write_keyring

# The second of the three places where RAUC looks for it (RAUC manual, "System Configuration File").
TARGET = Path("run/rauc/system.conf")
TEMPLATE = Template(
    source="rauc/system.conf.j2",
    target="",
    group="root",
    unit="rauc.service",
    action=Action.RESTART,
)


def write_rauc_files(paths: Paths) -> Path:
    """The effective keyring, what is known of flashed slots, and RAUC's configuration; returns the
    latter's path.

    Raises StateError without a booted disk, ConfigError without a keyring in the slot.
    """
    write_keyring(paths)
    note_flashed(paths)
    disk = booted_disk(paths)
    values = {
        "compatible": COMPATIBLE,
        "keyring": Path("/") / EFFECTIVE,
        "slots": {name: partition_device(disk, part.number) for name, part in SLOTS.items()},
    }
    [rendered] = render_templates(paths, [TEMPLATE], values)
    target = paths.root / TARGET
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomic(target, rendered.text)
    return target
