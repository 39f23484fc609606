"""Boot an image in QEMU as a card would boot in a Pi: `hearth vm`, and the tests' machine.

QEMU comes from the tools tree and is started through its own dynamic loader, so neither root nor
a sandbox is needed. The image itself is never written: a qcow2 overlay of card size is.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess  # noqa: TID251 - only for the type of what spawn() returns
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.deadline import Deadline, wait_until
from appliance.errors import CommandError, MissingToolError
from appliance.layout import GIB
from appliance.run import run, spawn

CARD_SIZE = 16 * GIB  # a power of two: QEMU's SD card wants one
LOADERS = {
    "x86_64": ("lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
    "aarch64": ("lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
}


@dataclass(frozen=True, kw_only=True)
class Cable:
    """A tap device, in the network namespace of that file, in place of QEMU's own network."""

    tap: str
    namespace: Path


@dataclass(frozen=True, kw_only=True)
class MachineOptions:
    """``forwards``: host port on 127.0.0.1 to guest port; ``machine``: virt or raspi3b.

    ``cpus``: virt's; a raspi3b has four. ``cable``: the guest is in another network, and nothing
    is forwarded (needs root).
    ``write_log``: an empty file for every write to virt's card (QEMU's ``blklogwrites``).
    """

    machine: str = "virt"
    memory_mb: int = 2048
    cpus: int = 2
    forwards: dict[int, int] = field(default_factory=dict)
    cable: Cable | None = None
    extra: Sequence[str] = ()
    load_snapshot: str | None = None
    write_log: Path | None = None


def tool(tools: Path, name: str) -> list[str]:
    """argv prefix that runs a program of the tools tree outside of it."""
    loader, triplet = LOADERS[platform.machine()]
    places = [tools / "usr" / directory / name for directory in ("bin", "sbin")]
    program = next((place for place in places if place.exists()), None)
    if program is None:
        raise MissingToolError(f"{places[0]} is missing", hint="run `sudo image/build` first")
    libraries = f"{tools}/usr/lib/{triplet}:{tools}/usr/lib/{triplet}/pulseaudio"
    return [os.fspath(tools / "usr" / loader), "--library-path", libraries, os.fspath(program)]


def make_card(tools: Path, image: Path, card: Path, *, size: int = CARD_SIZE) -> None:
    """A card of ``size`` bytes with ``image`` on it, as a qcow2 overlay."""
    card.unlink(missing_ok=True)
    run([*tool(tools, "qemu-img"), "create", "-q", "-f", "qcow2", "-F", "raw",
         "-b", image.resolve(), card, str(size)])  # fmt: skip


class Machine:
    """One running QEMU. ``directory`` gets serial.log, qemu.log and the control sockets."""

    def __init__(
        self, tools: Path, card: Path, directory: Path, options: MachineOptions, boot: Path
    ) -> None:
        self.tools = tools
        self.card = card
        self.directory = directory
        self.options = options
        self.boot = boot
        self.process: subprocess.Popen[str] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def serial_log(self) -> Path:
        return self.directory / "serial.log"

    @property
    def serial(self) -> str:
        return self.serial_log.read_text(errors="replace") if self.serial_log.exists() else ""

    @property
    def monitor(self) -> Path:
        return self.directory / "qmp.sock"

    def start(self) -> None:
        """Start QEMU; the caller waits for what it needs."""
        self.monitor.unlink(missing_ok=True)
        argv = [*tool(self.tools, "qemu-system-aarch64"), "-L", f"{self.tools}/usr/share/qemu"]
        argv += self._machine_arguments()
        argv += ["-display", "none", "-nodefaults", "-no-user-config"]
        argv += ["-qmp", f"unix:{self.monitor},server=on,wait=off"]
        if self.options.load_snapshot:
            argv += ["-loadvm", self.options.load_snapshot]
        argv += self.options.extra
        if self.options.cable:
            argv = ["nsenter", f"--net={self.options.cable.namespace}", *argv]
        with (self.directory / "qemu.log").open("w") as log:
            self.process = spawn(argv, output=log)

    def _network(self) -> str:
        if self.options.cable:
            return f"tap,id=net0,ifname={self.options.cable.tap},script=no,downscript=no"
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{host}-:{guest}"
            for host, guest in self.options.forwards.items()
        )
        return f"user,id=net0{forwards}"

    def _machine_arguments(self) -> list[str]:
        network = self._network()
        serial = f"file:{self.serial_log}"
        if self.options.machine == "raspi3b":
            return [
                "-machine", "raspi3b", "-kernel", f"{self.boot}/u-boot.bin",
                "-dtb", f"{self.boot}/bcm2837-rpi-3-b.dtb",
                "-drive", f"file={self.card},if=sd,format=qcow2",
                "-netdev", network, "-device", "usb-net,netdev=net0",
                "-serial", "null", "-serial", serial,
            ]  # fmt: skip
        # Without a seed for KASLR, neither QEMU's nor U-Boot's (from virtio-rng): with it Linux
        # isolates its page tables (KPTI), and TCG empties its TLB at each system call. A boot takes
        # 65 s of CPU time instead of 119.
        return [
            "-machine", "virt,dtb-randomness=off", "-cpu", "cortex-a72",
            "-smp", str(self.options.cpus),
            "-m", str(self.options.memory_mb), "-accel", "tcg,thread=multi",
            "-bios", f"{self.tools}/usr/lib/u-boot/qemu_arm64/u-boot.bin",
            "-drive", f"if=none,id=card,discard=unmap,{self._card_image()}",
            "-device", "virtio-blk-pci,drive=card",
            "-netdev", network, "-device", "virtio-net-pci,netdev=net0,romfile=",
            "-device", "i6300esb", "-serial", serial,
        ]  # fmt: skip

    def _card_image(self) -> str:
        if self.options.write_log is None:
            return f"file={self.card},format=qcow2"
        return (
            f"driver=blklogwrites,file.driver=qcow2,file.file.filename={self.card}"
            f",log.driver=file,log.filename={self.options.write_log}"
        )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def check_running(self) -> None:
        """Raises CommandError with QEMU's own words when it has ended."""
        if not self.is_running:
            log = (self.directory / "qemu.log").read_text(errors="replace").strip()
            message = f"QEMU ended early: {log[-500:] or 'no message'}"
            raise CommandError(message, hint=f"serial console: {self.serial_log}")

    def wait_for_serial(self, text: str, *, seconds: float, count: int = 1) -> None:
        """Wait until the serial console has shown ``text`` ``count`` times."""

        def seen() -> bool:
            self.check_running()
            return self.serial.count(text) >= count

        wait_until(seen, seconds=seconds, what=f"{text!r} on the serial console")

    def command(self, name: str, **arguments: object) -> object:
        """One QMP command (QEMU manual, "QEMU Machine Protocol")."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(os.fspath(self.monitor))
            stream = connection.makefile("rw")
            stream.readline()
            reply: dict[str, Any] = {}
            for request in ({"execute": "qmp_capabilities"},
                            {"execute": name, "arguments": arguments}):  # fmt: skip
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                while "event" in (reply := json.loads(stream.readline())):
                    continue
            if "error" in reply:
                raise CommandError(f"QEMU refused {name}: {reply['error']['desc']}")
            return reply.get("return")

    def save_snapshot(self, name: str) -> None:
        answer = self.command("human-monitor-command", **{"command-line": f"savevm {name}"})
        if answer:
            raise CommandError(f"savevm failed: {answer}")

    def stop(self, *, seconds: float = 20) -> None:
        """End QEMU at once, as pulling the plug would."""
        if self.process is None:
            return
        if self.is_running:
            self.process.terminate()
        deadline = Deadline(seconds)
        try:
            self.process.wait(deadline.remaining)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
