"""`hearth vm`: the built image in QEMU, for someone without a Pi."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from appliance.deadline import wait_until
from appliance.errors import ImageError, UsageError
from appliance.layout import BOOTFS
from appliance.run import run
from imagebuild.context import Context
from imagebuild.vm import Machine, MachineOptions, make_card, tool

READY_SECONDS = 600


def find_boot_files(context: Context) -> Path:
    """U-Boot and device trees as they lie on the image's bootfs; raises ImageError."""
    directory = context.work / "bootfs"
    if not (directory / "u-boot.bin").exists() or not context.raw_image.exists():
        message = f"{context.raw_image} is not there"
        raise ImageError(message, hint="build it first: sudo image/build")
    return directory


def write_preseed(tools: Path, image: Path, work: Path, text: str) -> Path:
    """A copy of the image with ``hearth.toml`` on bootfs, as an owner would put it there."""
    work.mkdir(parents=True, exist_ok=True)
    copy = work / "flashed.img"
    run(["cp", "--sparse=always", "--reflink=auto", image, copy])
    preseed = work / "hearth.toml"
    preseed.write_text(text)
    run(
        [*tool(tools, "mtools"), "-c", "mcopy", "-o", "-i", f"{copy}@@{BOOTFS.start}", preseed,
         "::hearth.toml"], env={"MTOOLS_SKIP_CHECK": "1"},
    )  # fmt: skip
    return copy


def run_vm(context: Context, options: argparse.Namespace) -> int:
    """Boot, say where the wizard is, wait for Control-C. Returns an exit code."""
    boot = find_boot_files(context)
    directory = context.build / "vm"
    card = directory / "card.qcow2"
    if options.fresh:
        shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    if not card.exists():
        image = context.raw_image
        if options.ssh_key is not None:
            text = f'ssh_keys = ["{options.ssh_key.read_text().strip()}"]\n'
            image = write_preseed(context.tools, image, directory, text)
        make_card(context.tools, image, card)
    elif options.ssh_key is not None:
        message = "--ssh-key works on a newly flashed card only"
        raise UsageError(message, hint="add --fresh (it forgets what was set up)")
    forwards = {options.port: 80, options.https_port: 443, options.ssh_port: 22}
    machine = Machine(
        context.tools,
        card,
        directory,
        MachineOptions(machine=options.machine, memory_mb=options.memory, forwards=forwards),
        boot,
    )
    machine.start()
    try:
        _announce(machine, options)
        assert machine.process is not None
        machine.process.wait()
        machine.check_running()
    except KeyboardInterrupt:
        sys.stderr.write("\nswitching off\n")
    finally:
        machine.stop()
    return 0


def _announce(machine: Machine, options: argparse.Namespace) -> None:
    sys.stderr.write(f"Starting {options.machine}; serial console: {machine.serial_log}\n")

    def ready() -> str | None:
        machine.check_running()
        return find_address_line(machine.serial)

    line = wait_until(ready, seconds=READY_SECONDS, what="the console's address line")
    _, _, code = line.partition("claim code ")
    print(f"Hearth answers at http://localhost:{options.port}/")
    if code:
        print(f"claim code: {code.strip()}")
    print("Control-C switches it off; `hearth vm` starts it again.", flush=True)


def find_address_line(serial: str) -> str | None:
    """The console's last word on where the pages are; the lines of further names follow it."""
    lines = [line for line in serial.splitlines() if line.startswith("hearth: ")]
    found = (line for line in reversed(lines) if " at http" in line and " also at " not in line)
    return next(found, None)
