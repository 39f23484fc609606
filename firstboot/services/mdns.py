"""Names on the home network: hearth-xxxx.local by avahi itself, hearth.local as an alias beside it.

avahi-daemon announces the machine's host name without our help. The shared alias is announced per
address by an avahi-publish child, with -R since the address's reverse name belongs to the host
name. Where another Hearth already has the alias, the child gives up and we try again later.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from appliance.deadline import Clock
from appliance.errors import HearthError
from appliance.log import logger
from appliance.run import Process, end, run, spawn

ALIAS = "hearth.local"
ESTABLISHED = "Established under name"
RETRY_SECONDS = 120.0
ASK_SECONDS = 10
READ_SIZE = 4096


@dataclass
class Child:
    """One announced address; ``pipe`` becomes readable when avahi-publish says something."""

    process: Process
    pipe: int
    established: bool = False
    said: str = ""


class Alias:
    """Keeps ``hearth.local`` announced for the addresses that there are."""

    def __init__(self, name: str = ALIAS, *, clock: Clock = time) -> None:
        self.name = name
        self._clock = clock
        self._children: dict[str, Child] = {}
        self._retry_at: dict[str, float] = {}

    @property
    def is_established(self) -> bool:
        return any(child.established for child in self._children.values())

    @property
    def pipes(self) -> tuple[int, ...]:
        """To wait on; call ``read`` when one is readable."""
        return tuple(child.pipe for child in self._children.values())

    def wait_seconds(self) -> float | None:
        """Until a refused name is due for another try; None when nothing is due."""
        if not self._retry_at:
            return None
        return max(0.0, min(self._retry_at.values()) - self._clock.monotonic())

    def update(self, addresses: tuple[str, ...]) -> None:
        """Announce these addresses (IPv4 ones, where there are any) and no others."""
        wanted = [address for address in addresses if ":" not in address] or list(addresses)
        for address in [address for address in self._children if address not in wanted]:
            self._end(address)
        self._retry_at = {key: at for key, at in self._retry_at.items() if key in wanted}
        now = self._clock.monotonic()
        for address in wanted:
            if address not in self._children and self._retry_at.get(address, 0.0) <= now:
                self._start(address)

    def read(self, pipe: int) -> bool:
        """Take in what a child said; whether the alias's state has changed."""
        for address, child in self._children.items():
            if child.pipe == pipe:
                return self._take(address, child)
        return False

    def stop(self) -> None:
        for address in list(self._children):
            self._end(address)

    def _start(self, address: str) -> None:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        # -f: avahi-daemon may still be starting, or restart; the child then waits for it.
        argv = ["avahi-publish", "-f", "-a", "-R", self.name, address]
        try:
            process = spawn(argv, output=write_end)
        except HearthError as error:
            logger.warning("%s is not announced: %s", self.name, error.message)
            os.close(read_end)
            self._retry_at[address] = self._clock.monotonic() + RETRY_SECONDS
            return
        finally:
            os.close(write_end)
        self._retry_at.pop(address, None)
        self._children[address] = Child(process, read_end)

    def _take(self, address: str, child: Child) -> bool:
        try:
            said = os.read(child.pipe, READ_SIZE)
        except BlockingIOError:
            return False
        if not said:
            reason = child.said.strip() or "avahi-publish ended"
            logger.info("%s is not announced for %s: %s", self.name, address, reason)
            self._retry_at[address] = self._clock.monotonic() + RETRY_SECONDS
            self._end(address)
            return True
        before = child.established
        child.said = said.decode(errors="replace")
        child.established = before or ESTABLISHED in child.said
        return child.established != before

    def _end(self, address: str) -> None:
        child = self._children.pop(address)
        os.close(child.pipe)
        end(child.process)


class OwnName:
    """The machine's unique name as avahi announces it, and back again after a false alarm.

    avahi takes another name (hearth-xxxx-2) when it believes that ours is in use. It also believes
    so when it hears its own announcement from an address that it has just given up, as at a start.
    Ours is made from the machine-id, so it is taken back after a while.
    """

    def __init__(self, host: str, *, clock: Clock = time) -> None:
        self.name = ""
        self.host = host
        self._clock = clock
        self._asked_for: object = None
        self._restore_at: float | None = None

    def wait_seconds(self) -> float | None:
        """Until the name is due to be taken back; None when it is right."""
        if self._restore_at is None:
            return None
        return max(0.0, self._restore_at - self._clock.monotonic())

    def refresh(self, circumstances: object) -> None:
        """Ask avahi again if ``circumstances`` have changed or there is no right answer yet."""
        if self._restore_at is not None and self.wait_seconds() == 0:
            run(["avahi-set-host-name", self.host], check=False, timeout=ASK_SECONDS)
            self._restore_at = None
            self.name = ""
        if not self.name or circumstances != self._asked_for:
            self.name = own_name()
            self._asked_for = circumstances
        is_right = self.name in ("", f"{self.host}.local")
        if is_right:
            self._restore_at = None
        elif self._restore_at is None:
            self._restore_at = self._clock.monotonic() + RETRY_SECONDS


def own_name() -> str:
    """The name under which avahi really announces this machine, or an empty string.

    Asked from avahi, since it takes another name when ours is already in use.
    """
    argv = ["busctl", "--system", "call", "org.freedesktop.Avahi", "/",
            "org.freedesktop.Avahi.Server", "GetHostNameFqdn"]  # fmt: skip
    try:
        result = run(argv, check=False, timeout=ASK_SECONDS)
    except HearthError as error:
        logger.warning("avahi does not say its name: %s", error.message)
        return ""
    kind, _, name = result.stdout.strip().partition(" ")
    return name.strip('"') if result.returncode == 0 and kind == "s" else ""
