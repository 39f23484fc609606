"""What can be wrong with a new version, done to slot B of a card that is about to start it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.layout import DATA, SLOT_B, Partition
from appliance.run import run
from firstboot.settle import REASONS
from services.health.stages import Stage
from vm.powercut import INIT

# The kernel looks for another archive where the first ends, at a multiple of four bytes.
APPEND = "truncate --size=%4 boot/initramfs; >> boot/initramfs cat "


@dataclass(frozen=True)
class Fault:
    """``script`` runs in the root of slot B; ``reason`` must be part of what the owner is told.

    Of what never comes to a verdict it is one of REASONS as a whole: they have words in common.
    """

    script: str
    reason: str


FAULTS = {
    "no-init": Fault("rm -f usr/lib/systemd/systemd usr/sbin/init", REASONS[Stage.INITRAMFS]),
    "homeserver": Fault(
        "printf '#!/bin/sh\\nexec sleep infinity\\n' > usr/lib/hearth/dendrite/dendrite",
        "homeserver",
    ),
    "panic": Fault("echo nothing > boot/initramfs", REASONS[None]),
    "hang-early": Fault(APPEND + '"$HANGING_INIT"', REASONS[None]),
    "unit": Fault(
        "printf '[Service]\\nExecStart=/bin/false\\n' > etc/systemd/system/broken.service;"
        "ln -s ../broken.service etc/systemd/system/multi-user.target.wants/", "broken.service",
    ),
    "pages": Fault("rm usr/lib/python3/dist-packages/setup_ui/app.py", "pages"),
    "network": Fault("ln -sf /dev/null etc/systemd/system/systemd-networkd.service", "network"),
    # After the mark of this start, or the two would race.
    "hang": Fault(
        "printf '[Unit]\\nDefaultDependencies=no\\nAfter=hearth-mark.service\\n"
        "[Service]\\nExecStart=/bin/kill -SEGV 1\\n' > etc/systemd/system/hang.service;"
        "ln -s ../hang.service etc/systemd/system/sysinit.target.wants/", REASONS[Stage.SYSTEMD],
    ),
}  # fmt: skip


def break_slot(card: Path, script: str, slot: Partition = SLOT_B) -> None:
    """Mounted in a namespace of its own, so that nothing stays mounted (needs root)."""
    hanging = card.parent / "hanging.cpio"
    hanging.write_bytes(init_that("sleep 1000000"))
    panicking = card.parent / "panicking.cpio"
    panicking.write_bytes(init_that("exit 1"))
    _change(card, slot, script, HANGING_INIT=str(hanging), PANICKING_INIT=str(panicking))


def shorten_verdict(card: Path, minutes: int) -> None:
    """Of what will never be well, that is known soon."""
    change = f"s/^verdict_minutes = .*/verdict_minutes = {minutes}/"
    _change(card, DATA, f"sed -i '{change}' hearth/settings.toml")


def _change(card: Path, partition: Partition, script: str, **env: str) -> None:
    place = card.parent / "mounted"
    place.mkdir(exist_ok=True)
    limit = f",sizelimit={partition.size}" if partition.size else ""
    mount = f'mount -t ext4 -o loop,offset={partition.start}{limit} "$1" "$2"'
    run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
         f'{mount}; cd "$2"; {script}\nsync', "sh", card, place],
        env=env,
    )  # fmt: skip


def init_that(ends: str) -> bytes:
    """To follow an initramfs: of two files with one name the kernel takes the later one.

    It does its first step, in which the watchdog is armed, and then what ``ends`` says.
    """
    before, mark, _ = INIT.read_text().partition("\nload_modules\n")
    assert mark, "init has changed"
    return pack("init", f"{before}{mark}{ends}\n".encode()) + pack("TRAILER!!!", b"")


def pack(name: str, content: bytes) -> bytes:
    """A file of a cpio archive (cpio(5), "New ASCII Format")."""
    fields = [1, 0o100755, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
    head = "070701" + "".join(f"{field:08X}" for field in fields) + name + "\0"
    return b"".join(part.ljust(-(-len(part) // 4) * 4, b"\0") for part in (head.encode(), content))
