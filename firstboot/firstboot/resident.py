"""The agent as it runs on the appliance: requests, console and names in one small process."""

from __future__ import annotations

import os
import selectors
import signal
import threading
from functools import partial
from types import FrameType

from appliance.hostname import host_name
from appliance.log import logger
from appliance.notify import notify_ready
from appliance.paths import Paths
from firstboot.agent import Agent
from firstboot.codes import show_code
from firstboot.console import Console
from firstboot.handover import put_into_effect
from firstboot.renewal import Renewal
from firstboot.screen import View
from services.filewatch import FileWatch
from services.mdns import Alias, OwnName
from services.network import local_addresses, open_netlink
from services.redirect import ROUTES, home_networks, read_networks
from services.resolver import network_state, update_resolver

# Several messages come when a link comes up; one look at the end is enough.
SETTLE_SECONDS = 0.3
NETLINK_READ = 65536


class Watch:
    """Waits for news (addresses, files, avahi, the agent itself) and shows what has changed."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._paths = agent.paths
        self._alias = Alias()
        self._console = Console(agent.paths)
        self._own = OwnName(host_name(agent.paths))
        self._renewal = Renewal(agent.paths, agent.host)
        self._neighbours = home_networks("")
        self._netlink = open_netlink()
        agent.paths.certificates.mkdir(mode=0o751, exist_ok=True)
        wanted = (agent.paths.hearth, agent.paths.certificates, network_state(agent.paths).parent)
        self._files = FileWatch(*(directory for directory in wanted if directory.is_dir()))
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._stopping = False
        agent.names = self.names
        agent.on_change = self.wake

    def names(self) -> tuple[str, ...]:
        """The names that are really announced, the unique one first."""
        shared = (self._alias.name,) if self._alias.is_established else ()
        return (*((self._own.name,) if self._own.name else ()), *shared)

    def wake(self) -> None:
        os.write(self._wake_write, b"x")

    def stop(self) -> None:
        self._stopping = True
        self.wake()

    def run(self) -> None:
        """Until ``stop``; nothing that goes wrong here may end the agent."""
        while not self._stopping:
            try:
                self._look()
                self._wait()
            except Exception:  # of whatever kind: without this thread there are no names
                logger.exception("the watch stumbled")
                self._pause()
        self._alias.stop()

    def _look(self) -> None:
        self._agent.settle()
        update_resolver(self._paths)
        addresses = local_addresses()
        self._own = of_that_name(self._own, host_name(self._paths))
        # Under that very name avahi announces us by itself.
        self._alias.update(() if f"{self._own.host}.local" == self._alias.name else addresses)
        if addresses:
            self._own.refresh((addresses, self._alias.is_established))
        self._renewal.look(addresses, self._agent.setup.phase)
        self._look_at_neighbours()
        if not self._agent.is_prepared:
            return  # it wakes us when it is, and then there is a claim code to show
        code = self._agent.gate.claim_code
        self._console.show(
            View(
                status=self._agent.status(),
                code=show_code(code.plain),
                code_file=code.on_bootfs,
            )
        )

    def _look_at_neighbours(self) -> None:
        """What came at the machine's start knows no network of ours yet; routers change theirs."""
        found = read_networks(self._paths.root / ROUTES.relative_to("/"))
        if found != self._neighbours:
            self._neighbours = found
            self._agent.host.note_neighbours()

    def _wait(self) -> None:
        watched = (self._alias, self._own, self._renewal)
        waits = (one.wait_seconds() for one in watched)
        timeout = min((wait for wait in waits if wait is not None), default=None)
        while self._take_news(timeout) and not self._stopping:
            timeout = SETTLE_SECONDS

    def _take_news(self, timeout: float | None) -> bool:
        """Whether there was any within ``timeout`` seconds."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._netlink, selectors.EVENT_READ, self._drain_netlink)
            selector.register(self._files.fileno(), selectors.EVENT_READ, self._files.drain)
            selector.register(self._wake_read, selectors.EVENT_READ, self._drain_wake)
            for pipe in self._alias.pipes:
                selector.register(pipe, selectors.EVENT_READ, partial(self._alias.read, pipe))
            ready = [key.data for key, _ in selector.select(timeout)]
        for take in ready:
            take()
        return bool(ready)

    def _drain_wake(self) -> None:
        os.read(self._wake_read, NETLINK_READ)

    def _drain_netlink(self) -> None:
        try:
            while self._netlink.recv(NETLINK_READ):
                pass
        except BlockingIOError:
            return
        except OSError as error:
            # ENOBUFS: more news than the socket holds. We look at everything anyway.
            logger.debug("netlink: %s", error)

    def _pause(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            selector.select(SETTLE_SECONDS)


def of_that_name(own: OwnName, name: str) -> OwnName:
    """It changes once, at the start in which hearth.toml or Imager's file is first read."""
    return own if own.host == name else OwnName(name)


def run_agent(paths: Paths) -> int:
    """``python3 -m firstboot agent``: until SIGTERM."""
    agent = Agent(paths, prepare=False)
    watch = Watch(agent)
    failures: list[Exception] = []

    def stop(_signal: int, _frame: FrameType | None) -> None:
        agent.shutdown()

    def prepare() -> None:
        try:
            agent.prepare()
        except Exception as error:
            # Without a claim code nobody can get in: end, so that systemd starts us anew.
            logger.exception("the agent cannot prepare")
            failures.append(error)
            agent.shutdown()
            return
        put_into_effect(agent.paths, agent.host, agent.preseed)
        watch.wake()  # the machine may have another name now

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    watcher = threading.Thread(target=watch.run, name="watch", daemon=True)
    # Ready first: what has asked already waits in the socket that systemd opened.
    agent.open()
    threading.Thread(target=prepare, name="prepare", daemon=True).start()
    watcher.start()
    agent.serve_forever(ready=notify_ready)
    watch.stop()
    watcher.join(timeout=10)
    return 1 if failures else 0
