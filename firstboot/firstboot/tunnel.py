"""``hearth-tunnel.service``: keeps our half of the tunnel up and says how it is.

WireGuard reconnects by itself, but only when it has something to carry: a rented server that has
restarted does not know where we are. So we knock every few seconds at its end of the tunnel, at a
port where nobody is at home; its refusal is the answer. When none comes, WireGuard shakes hands
anew within fifteen seconds, and the server sees where we are.
"""

from __future__ import annotations

import signal
import socket
import time
from dataclasses import replace
from types import FrameType
from typing import Protocol

from appliance.deadline import WallClock
from appliance.errors import HearthError, StateError
from appliance.log import logger
from appliance.notify import notify_ready
from appliance.paths import Paths
from appliance.settings import Tunnel, load_settings
from services.checkers import complaint
from services.tunnel import device
from services.tunnel.device import Look
from services.tunnel.diagnose import Diagnosis, diagnose
from services.tunnel.place import CONFIG, OURS, THEIRS, find_tunnel
from services.tunnel.status import DEAD_SECONDS, TunnelStatus, save_status

KNOCK_PAUSE = 10.0
# The discard service (RFC 863): nobody runs it, and the guard over there refuses it anyway.
KNOCK_PORT = 9
# Hands are shaken within a second where it works at all.
PATIENCE_SECONDS = 15.0
DIAGNOSE_PAUSE = 60.0


class Device(Protocol):
    """services.tunnel.device, or a test's."""

    def look(self) -> Look | None: ...
    def point_at(self, peer: str, server: str, port: int) -> None: ...


class TunnelWatch:
    """Looks, knocks, and finds out why there is no answer."""

    def __init__(
        self, paths: Paths, tunnel: Tunnel, *, interface: Device = device, clock: WallClock = time
    ) -> None:
        self._paths = paths
        self._tunnel = tunnel
        self._device = interface
        self._clock = clock
        self._begun = clock.monotonic()
        self._seen = 0
        self._shaken: float | None = None
        self._diagnosis: Diagnosis | None = None
        self._diagnosed = float("-inf")

    def step(self) -> TunnelStatus:
        """One look; what it found is saved."""
        knock()
        now = self._clock.monotonic()
        status = TunnelStatus(at=now, server=self._tunnel.server)
        look = self._device.look()
        if look is None:
            status = replace(status, problem="the interface is gone")
        else:
            self._note(look, now)
            status = replace(
                status,
                endpoint=look.endpoint,
                shaken=self._shaken,
                received=look.received,
                sent=look.sent,
                diagnosis=self._find_cause(look, now),
            )
        save_status(self._paths, status)
        return status

    def _note(self, look: Look, now: float) -> None:
        """The kernel tells a date, and a Pi's clock jumps when it is set: only news count."""
        if look.handshake == self._seen:
            return
        age = self._clock.time() - look.handshake
        is_plausible = 0 <= age <= now - self._begun + 1  # it tells whole seconds
        self._seen = look.handshake
        before = self.shaken_ago(now)
        self._shaken = now - age if is_plausible else now
        if before is None or before > DEAD_SECONDS:
            logger.info("the rented server answers at %s", look.endpoint)

    def shaken_ago(self, now: float) -> float | None:
        return None if self._shaken is None else now - self._shaken

    def _find_cause(self, look: Look, now: float) -> Diagnosis | None:
        """Only while nobody answers, and not too often. A name is looked up again then."""
        ago = self.shaken_ago(now)
        is_late = now - self._begun > PATIENCE_SECONDS if ago is None else ago > DEAD_SECONDS
        if not is_late:
            self._diagnosis = None
            return None
        if now - self._diagnosed < DIAGNOSE_PAUSE:
            return self._diagnosis
        self._diagnosed = now
        self._diagnosis = diagnose(self._tunnel.server, self._tunnel.port)
        logger.warning("no answer: %s", "; ".join(self._diagnosis.evidence))
        try:
            self._device.point_at(look.peer, self._tunnel.server, self._tunnel.port)
        except HearthError as error:
            logger.info("%s", error.message)
        return self._diagnosis


def knock() -> None:
    """One byte through the tunnel; whether it arrives is WireGuard's to notice."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as knocker:
        try:
            knocker.bind((OURS, 0))
            knocker.sendto(b"\0", (THEIRS, KNOCK_PORT))
        except OSError as error:
            logger.debug("knocking: %s", error)


def keep_tunnel(paths: Paths) -> int:
    """Until SIGTERM. Raises HearthError when our half does not come up."""
    tunnel = find_tunnel(load_settings(paths.settings))
    if tunnel is None:
        raise StateError("no tunnel is wanted", hint="hearthctl status tells how people get in")
    config = paths.rendered / CONFIG
    try:
        device.up(config)
    except HearthError as error:
        problem = complaint(error.message)  # wg-quick shows each of its steps
        save_status(paths, TunnelStatus(at=time.monotonic(), server=tunnel.server, problem=problem))
        raise

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    try:
        notify_ready()
        watch = TunnelWatch(paths, tunnel)
        while True:
            watch.step()
            time.sleep(KNOCK_PAUSE)
    finally:
        device.down(config)
