"""Power-on to an answering wizard, and memory there and with a homeserver."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from appliance.deadline import wait_until
from appliance.log import logger, progress
from benchmarks.table import Row, publish, stopwatch
from imagebuild.context import Context, make_context
from imagebuild.recipe import make_recipe
from vm.guest import BOOT_SECONDS, CLAIM_CODE, Guest
from vm.wizard import Wizard, chromium

PARTS = ("wizard", "synapse", "dendrite")
# What one asks with is not the appliance's: SSH is off unless a key switches it on.
ASKING = ("sshd", "sshd-session", "sshd-auth", "sftp-server", "sh", "awk", "mawk")
PSS = (
    "for d in /proc/[0-9]*; do read -r name < $d/comm || continue; "
    "awk -v n=\"$name\" '/^Pss:/ {print $2, n}' $d/smaps_rollup; done 2>/dev/null; true"
)
SETTLED = 0.02  # two readings this close, a while apart: nothing is starting any more
BETWEEN_READINGS = 20
SETTLE_SECONDS = 600


def measure(parts: tuple[str, ...]) -> None:
    context = make_context(make_recipe("hearth"))
    place = context.build / "bench" / "boot"
    shutil.rmtree(place, ignore_errors=True)
    rows: list[Row] = []
    if "wizard" in parts:
        rows += measure_wizard(context, place / "wizard")
        publish("boot", rows, context.build / "bench")
    limits = {"synapse": (480.0, 380.0), "dendrite": (350.0, 250.0)}
    for software in (part for part in parts if part in limits):
        must, aim = limits[software]
        rows.append(measure_provisioned(context, place / software, software, must, aim))
        publish("boot", rows, context.build / "bench")
    shutil.rmtree(place, ignore_errors=True)


def measure_wizard(context: Context, place: Path) -> list[Row]:
    """The same card twice: newly flashed, and then as any later power-on."""
    guest = Guest(context, place, cpus=2)
    guest.flash()
    rows = []
    try:
        for name, must, aim in (("first boot", 90.0, 50.0), ("later boot", 60.0, 35.0)):
            seconds = time_to_wizard(guest)
            rows.append(Row(figure=f"power-on to wizard, virt, {name}", value=seconds, unit="s",
                            must=must, aim=aim))  # fmt: skip
            guest.wait_for_ssh()
            kernel, userspace = startup_times(guest)
            rows.append(Row(figure=f"  kernel and initramfs, {name}", value=kernel, unit="s"))
            rows.append(Row(figure=f"  userspace, {name}", value=userspace, unit="s"))
            memory = settled_memory(guest)
            if name == "first boot":
                rows.append(Row(figure="memory at the wizard (PSS)", value=memory, unit="MB",
                                must=150, aim=100))  # fmt: skip
            guest.switch_off()
    finally:
        guest.stop()
    return rows


def measure_provisioned(
    context: Context, place: Path, software: str, must: float, aim: float
) -> Row:
    """Through the whole wizard, then idle."""
    guest = Guest(context, place, cpus=2)
    guest.flash()
    guest.start()
    try:
        guest.wait_for_pages()
        guest.wait_for_ssh()
        with progress(f"Provisioning with {software}"), chromium() as browser:
            wizard = Wizard(browser, guest.url(), place / "pictures", javascript=True)
            wizard.claim(CLAIM_CODE)
            wizard.answer(software, guest.mdns_name())
            wizard.apply()
        memory = settled_memory(guest)
    finally:
        guest.stop()
    figure = f"memory provisioned and idle, {software} (PSS)"
    return Row(figure=figure, value=memory, unit="MB", must=must, aim=aim)


def time_to_wizard(guest: Guest) -> float:
    """Short attempts: a connection opened before the guest is up would wait for TCP's patience."""

    def answers() -> bool:
        assert guest.machine is not None
        guest.machine.check_running()
        try:
            return guest.get("/claim", seconds=4)[0] == 200  # noqa: PLR2004 - HTTP's "OK"
        except OSError:
            return False

    with progress("Power-on to wizard"), stopwatch() as watch:
        guest.start()
        wait_until(answers, seconds=BOOT_SECONDS, what="the wizard's answer", every=0.1)
    return watch.seconds


def startup_times(guest: Guest) -> tuple[float, float]:
    """systemd's own account, once it says that the start is over."""

    def finished() -> re.Match[str] | None:
        text = guest.ssh("systemd-analyze", "time", check=False)
        return re.search(r"finished in (.*) \(kernel\) \+ (.*) \(userspace\)", text)

    match = wait_until(finished, seconds=BOOT_SECONDS, what="the end of the start", every=5)
    kernel, userspace = (_seconds(text) for text in match.groups())
    return kernel, userspace


def _seconds(text: str) -> float:
    """systemd writes "1min 2.345s" or "980ms"."""
    units = {"min": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)(min|ms|s)", text))


def settled_memory(guest: Guest) -> float:
    """Megabytes of PSS of all processes but those that ask, when it no longer changes."""
    readings = [read_memory(guest)]

    def settled() -> bool:
        guest.ssh("sleep", str(BETWEEN_READINGS))
        readings.append(read_memory(guest))
        logger.info("  %.1f MB", readings[-1])
        return abs(readings[-1] - readings[-2]) <= SETTLED * readings[-1]

    with progress("Waiting for memory to settle"):
        wait_until(settled, seconds=SETTLE_SECONDS, what="a steady use of memory")
    return readings[-1]


def read_memory(guest: Guest) -> float:
    found: dict[str, int] = {}
    for line in guest.ssh("sh", "-c", PSS).splitlines():
        size, _, name = line.partition(" ")
        if name not in ASKING:
            found[name] = found.get(name, 0) + int(size)
    largest = sorted(found.items(), key=lambda item: -item[1])[:8]
    logger.info("  %s", ", ".join(f"{name} {size / 1000:.0f}" for name, size in largest))
    return sum(found.values()) * 1024 / 1e6
