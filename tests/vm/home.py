"""The appliance at a home in the Internet in a box: a guest on a tap of the home's switch.

Tests and browsers reach it from the machine ``lan`` beside it, as its owner would.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild.vm import Cable, MachineOptions
from vm.guest import Guest
from vm.wizard import CHROMIUM
from world.internet.world import World

CERTIFICATES = Path("ssl/certs")
NOT_THERE = 7  # curl(1): "Failed to connect to host"
TIMED_OUT = 28


@dataclass(kw_only=True)
class HomeGuest(Guest):
    """``address`` is what the router gave it, once it did."""

    world: World
    cable: Cable
    address: str = ""

    def options(self) -> MachineOptions:
        return replace(super().options(), forwards={}, cable=self.cable)

    def url(self, path: str = "/") -> str:
        self._learn_address()
        return f"http://{self.address}{path}"

    def way_in(self) -> list[str]:
        self._learn_address()
        return [*in_lan(self.world), "ssh", f"root@{self.address}"]

    def get(self, path: str, *, seconds: float = 60) -> tuple[int, bytes]:
        argv = ["curl", "-sSL", "--max-time", str(seconds), "-w", "\n%{http_code}", self.url(path)]
        answer = self.world.lan.run(argv, check=False, seconds=seconds + 10)
        if answer.returncode in (NOT_THERE, TIMED_OUT):
            raise OSError(answer.stderr)
        body, _, status = answer.stdout.rpartition("\n")
        return int(status), body.encode()

    def _learn_address(self) -> None:
        """From the router's list of leases; its console says the same, which a test compares."""
        if self.address:
            return
        assert self.world.router is not None
        leases = self.world.router.host.run(["cat", "/run/leases"], check=False).stdout
        # dnsmasq(8), lease file: expiry, hardware address, IPv4 address, name, client's ID
        found = [line.split()[2] for line in leases.splitlines() if " hearth-" in line]
        if not found:
            raise OSError("the router has given no address to an appliance")
        self.address = found[0]

    def trust(self) -> None:
        """The box's authorities into /etc of the guest, which is new at every boot."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(self.world.lan.etc / CERTIFICATES, arcname=CERTIFICATES)
        self.ssh("tar", "-x", "-C", "/etc", input=packed.getvalue())


def in_lan(world: World) -> list[str]:
    """What has a program of this machine run in the home's network."""
    return ["nsenter", f"--net=/proc/{world.lan.pid}/ns/net"]


def lan_chromium(world: World, directory: Path) -> str:
    """A program that starts Chromium on the machine in the home."""
    program = directory / "chromium"
    program.write_text(f'#!/bin/sh\nexec {" ".join(in_lan(world))} {CHROMIUM} "$@"\n')
    program.chmod(0o755)
    return str(program)
