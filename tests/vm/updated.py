"""An appliance that is updated: set up once, looked at after each update, broken on purpose."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from playwright.sync_api import Browser

from appliance.deadline import wait_until
from imagebuild.vm import make_card
from unit.services.card import copy_card
from vm.conftest import provision
from vm.guest import BOOT_SECONDS, Guest
from vm.matrix import Person, converse, history, register, resolving, talk
from vm.wizard import OWNER, PASSWORD

FRIEND, FRIEND_PASSWORD = "bea", "another long pass phrase"
MESSAGE = "from before the update"
VERDICT_MINUTES = 5
# Three attempts at worst, each with the wait for a watchdog, and the old slot's own start.
OUTCOME_SECONDS = 900
SHORT_VERDICT = f"""
from dataclasses import replace
from appliance.paths import Paths
from appliance.settings import load_settings, save_toml
from services.owners import find_owner
paths = Paths()
settings = load_settings(paths.settings)
updates = replace(settings.updates, verdict_minutes={VERDICT_MINUTES}, automatic=False)
save_toml(replace(settings, updates=updates), paths.settings, mode=0o640,
          owner=find_owner(paths, "root", "hearth-ui"))
"""


@dataclass
class Updated(Guest):
    """``room`` has the message that must never be lost."""

    room: str = ""
    url_outside: str = ""

    def set_up(self, browser: Browser) -> None:
        """By the wizard, with Dendrite: it starts in seconds where Synapse takes minutes."""
        provision(self, browser, "dendrite", javascript=False)
        self.authority()
        host = self.mdns_name()
        self.url_outside = f"https://{host}:{self.https}"
        secret = tomllib.loads(self.ssh("cat", "/data/hearth/secrets.toml"))
        with resolving(host):
            register(self.url_outside, self.certificate, secret["registration_shared_secret"],
                     FRIEND, FRIEND_PASSWORD)  # fmt: skip
            self.room = talk(self._converse())
        self.ssh("python3", "-c", SHORT_VERDICT)

    @property
    def certificate(self) -> Path:
        return self.directory / "authority.pem"

    def _person(self, name: str) -> Person:
        host = self.url_outside.removeprefix("https://").partition(":")[0]
        keys = self.directory / f"keys-{name}"
        return Person(self.url_outside, f"@{name}:{host}", keys, self.certificate, e2e=False)

    async def _converse(self) -> str:
        owner, friend = self._person(OWNER), self._person(FRIEND)
        try:
            await owner.login(PASSWORD)
            await friend.login(FRIEND_PASSWORD)
            return await converse(owner, friend, e2e=False, body=MESSAGE)
        finally:
            await owner.client.close()
            await friend.client.close()

    async def _history(self) -> list[str]:
        friend = self._person(FRIEND)
        try:
            await friend.login(FRIEND_PASSWORD)
            return await history(friend, self.room)
        finally:
            await friend.client.close()

    def messages(self) -> list[str]:
        """What the friend reads, logged in anew."""
        host = self.url_outside.removeprefix("https://").partition(":")[0]
        with resolving(host):
            self.wait_for_homeserver(self.url_outside, self.certificate)
            return talk(self._history())

    def update(self, *argv: str, check: bool = True) -> dict[str, Any]:
        """`hearthctl update ... --json`."""
        said = self.ssh("hearthctl", "update", *argv, "--json", seconds=900, check=check)
        return dict(json.loads(said)) if said.strip() else {}

    def boot_id(self) -> str:
        return self.ssh("cat", "/proc/sys/kernel/random/boot_id", check=False, seconds=60).strip()

    @contextmanager
    def in_1970(self) -> Iterator[None]:
        """As a Pi without a battery and without a time server.

        Not in the first week of it: a small time of deletion is an inode's number to e2fsck, which
        is why the initramfs sets the clock before it writes.
        """
        self.ssh("systemctl", "stop", "systemd-timesyncd")
        self.ssh("date", "--set", "1970-02-01")
        try:
            yield
        finally:
            self.ssh("date", "--set", f"@{time.time():.0f}")
            self.ssh("systemctl", "start", "systemd-timesyncd")

    def restart_into_update(self) -> None:
        self.ssh("systemctl", "start", "--no-block", "hearth-update-restart.service")

    def wait_for_outcome(self, number: int) -> dict[str, Any]:
        """The newest line of the history, once it tells of ``number`` versions that were tried."""

        def newest() -> dict[str, Any] | None:
            assert self.machine is not None
            self.machine.check_running()
            try:
                said = self.ssh("hearthctl", "update", "--json", check=False, seconds=90)
                history = list(json.loads(said)["history"])
            except (OSError, ValueError, subprocess.TimeoutExpired):  # it restarts
                return None
            tried = [one for one in history if one["result"] != "not-installed"]
            return dict(tried[0]) if len(tried) >= number else None

        return wait_until(newest, seconds=OUTCOME_SECONDS, what="the update's end", every=3)

    def check_well(self, *, version: str, slot: str) -> None:
        """Runs ``version``, which is committed; no update is going on, and nothing has failed."""
        status = self.update()
        assert (status["version"], status["update"]["stage"]) == (version, "idle")
        slots = status["slot"]
        assert (slots["booted"], slots["primary"]) == (slot, slot)
        assert (slots["committed"], slots["valid_copies"]) == (True, 2)
        assert self.ssh("systemctl", "--failed", "--no-legend").strip() == ""

    def twin(self, name: str, card: Path, change: Callable[[Path], None]) -> Updated:
        """The same appliance from a copy of ``card``, to which ``change`` is done first."""
        directory = self.directory.parent / name
        directory.mkdir()
        for key in ("id_ed25519", "id_ed25519.pub", "authority.pem"):
            shutil.copy2(self.directory / key, directory / key)
        twin = Updated(self.context, directory, room=self.room)
        twin.image = copy_card(card, directory / "card.img")
        change(twin.image)
        make_card(self.context.tools.resolve(), twin.image, twin.card)
        host = self.url_outside.removeprefix("https://").partition(":")[0]
        twin.url_outside = f"https://{host}:{twin.https}"
        return twin

    @contextmanager
    def running(self) -> Iterator[Self]:
        self.start()
        try:
            yield self
        finally:
            self.save_journal("last")
            self.stop()

    def wait_for_version(self, version: str) -> None:
        """Until hearthctl answers, and says that this runs; there may be a restart before."""

        def runs() -> bool:
            try:
                return self.update()["version"] == version
            except (AssertionError, ValueError, subprocess.TimeoutExpired):
                return False

        wait_until(runs, seconds=OUTCOME_SECONDS, what=f"version {version}", every=3)

    def is_rescued(self) -> bool:
        """Whether the start page is that of rescue mode."""
        assert self.machine is not None
        self.machine.check_running()
        try:
            return b"This Hearth needs you" in self.get("/", seconds=30)[1]
        except OSError:
            return False

    @contextmanager
    def watching(self) -> Iterator[Outage]:
        """Asks the homeserver all the time, as a client would."""
        outage = Outage(self)
        outage.start()
        try:
            yield outage
            outage.see_its_end()
        finally:
            outage.stop()


class Outage(threading.Thread):
    """``seconds``: the longest time between two answers."""

    def __init__(self, guest: Updated) -> None:
        super().__init__(daemon=True)
        self._guest = guest
        self._context = ssl.create_default_context(cafile=guest.certificate)
        # The port is forwarded; the name in the certificate is the appliance's own.
        self._context.check_hostname = False
        self._ended = threading.Event()
        self.answers: list[float] = []

    @property
    def seconds(self) -> float:
        pairs = zip(self.answers, self.answers[1:], strict=False)
        return max((after - before for before, after in pairs), default=0.0)

    def run(self) -> None:
        url = f"https://127.0.0.1:{self._guest.https}/_matrix/client/versions"
        while not self._ended.is_set():
            try:
                with urllib.request.urlopen(url, context=self._context, timeout=5) as answer:
                    if answer.status == 200:
                        self.answers.append(time.monotonic())
            except OSError:
                pass
            # A handshake is work for an emulated processor.
            self._ended.wait(1)

    def see_its_end(self) -> None:
        """One more answer: without it the last silence would not count."""
        now = time.monotonic()
        wait_until(
            lambda: self.answers and self.answers[-1] > now,
            seconds=BOOT_SECONDS, what="one more answer of the homeserver",
        )  # fmt: skip

    def stop(self) -> None:
        self._ended.set()
        self.join(20)
