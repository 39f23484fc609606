"""``hearth-router.service``: hears the router, and has the ports looked after at once.

Small and without rights: it has no settings, no secrets and no way to start anything. It touches a
file, and hearth-portmap.path does the rest. For routers that announce nothing it asks, with the
smallest question that their protocol has, four times a minute (services.portmap.pulse).
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from pathlib import Path

from appliance.deadline import Clock
from appliance.log import logger
from appliance.paths import Paths
from services.network import open_netlink
from services.portmap.news import (
    ANNOUNCE_GROUP,
    ANNOUNCE_PORT,
    MAX_PACKET,
    SSDP_GROUP,
    SSDP_PORT,
    Life,
    join,
    open_group,
    parse_alive,
    parse_announcement,
)
from services.portmap.place import Place, find_place
from services.portmap.pulse import Pulse

# An address that changed shall be in DNS within 20 s (issue 3), wherever that is up to us.
ASK_PAUSE = 15.0
# Several messages come when a router starts or a link comes up; one run at their end is enough.
SETTLE_SECONDS = 1.0
# A router that announces itself in a loop must not keep the appliance busy.
LEAST_PAUSE = 15.0


class RouterWatch:
    """Touches ``signal`` once for every change; nothing that is heard can do more than that."""

    def __init__(
        self,
        signal: Path,
        *,
        clock: Clock = time,
        pulse: Pulse | None = None,
        find: Callable[[], Place] = find_place,
    ) -> None:
        self._signal = signal
        self._clock = clock
        self._find = find
        self._pulse = pulse or Pulse(clock=clock)
        self._announce = open_group(ANNOUNCE_GROUP, ANNOUNCE_PORT)
        self._ssdp = open_group(SSDP_GROUP, SSDP_PORT)
        self._netlink = open_netlink()
        self._life: Life | None = None
        self._alive: tuple[str, str] | None = None
        self._place = Place()
        self._called = float("-inf")

    def run(self) -> None:
        self.step(0.0)  # what is so now; a change is seen against it
        while True:
            self.step(ASK_PAUSE)

    def step(self, seconds: float) -> bool:
        """Wait for news for so long, or ask; whether there was a change."""
        self._move()
        changed = self._listen(seconds)
        if not changed:
            changed = self._ask()
        if changed:
            self._call()
        return changed

    def close(self) -> None:
        for one in (self._announce, self._ssdp, self._netlink, self._pulse):
            one.close()

    def _move(self) -> None:
        place = self._find()
        if place != self._place:
            self._place = place
            self._pulse.move(place)
            if place.lan:
                join(self._announce, ANNOUNCE_GROUP, place.lan)
                join(self._ssdp, SSDP_GROUP, place.lan)

    def _listen(self, seconds: float) -> bool:
        changed = False
        end = self._clock.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for one in (self._announce, self._ssdp, self._netlink):
                selector.register(one, selectors.EVENT_READ)
            while (left := end - self._clock.monotonic()) > 0:
                for key, _ in selector.select(left):
                    changed = self._take(key.fileobj) or changed
                if changed:
                    end = min(end, self._clock.monotonic() + SETTLE_SECONDS)
        return changed

    def _take(self, source: object) -> bool:
        if source is self._netlink:
            self._netlink.recv(MAX_PACKET * 16)
            before = self._place
            self._move()
            return self._place != before
        listener = self._ssdp if source is self._ssdp else self._announce
        packet, (sender, _port) = listener.recvfrom(MAX_PACKET)
        if sender != self._place.gateway:
            return False  # only the router's word counts
        if listener is self._announce:
            life = parse_announcement(packet, self._clock.monotonic())
            # These come only when something has happened: the first one is news already.
            return life is not None and self._note_life(life, is_first_news=True)
        alive = parse_alive(packet)
        if alive is None or alive == self._alive:
            return False
        self._alive = alive
        return True

    def _ask(self) -> bool:
        life = self._pulse.ask()
        return life is not None and self._note_life(life, is_first_news=False)

    def _note_life(self, life: Life, *, is_first_news: bool) -> bool:
        """Whether this is another life of the router's, or another address."""
        before = self._life
        if before is None:
            self._life = life
            return is_first_news
        self._life = before.followed_by(life)
        return not before.goes_on_in(life)

    def _call(self) -> None:
        now = self._clock.monotonic()
        if now - self._called < LEAST_PAUSE:
            self._clock.sleep(LEAST_PAUSE - (now - self._called))
        self._called = self._clock.monotonic()
        logger.info("the router or our address has changed")
        self._signal.touch()


def watch_router(paths: Paths) -> int:
    """Until SIGTERM."""
    RouterWatch(paths.router_news).run()
    return 0
