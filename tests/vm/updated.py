"""An appliance that is updated: set up once, looked at after each update, broken on purpose."""

from __future__ import annotations

import json
import ssl
import threading
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser

from appliance.deadline import wait_until
from vm.conftest import provision
from vm.guest import Guest
from vm.matrix import Person, converse, history, register, resolving, talk
from vm.wizard import OWNER, PASSWORD

FRIEND, FRIEND_PASSWORD = "bea", "another long pass phrase"
MESSAGE = "from before the update"
VERDICT_MINUTES = 3
# Three attempts at worst, each with the wait for a watchdog, and the old slot's own start.
OUTCOME_SECONDS = 900
SLOT_B = "/dev/vda3"
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
    outages: list[float] = field(default_factory=list)

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
    def certificate(self) -> Any:
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

    def restart_into_update(self) -> None:
        self.ssh("systemctl", "start", "--no-block", "hearth-update-restart.service")

    def wait_for_outcome(self, number: int) -> dict[str, Any]:
        """The newest line of the history, once there are ``number`` of them."""

        def newest() -> dict[str, Any] | None:
            assert self.machine is not None
            self.machine.check_running()
            try:
                said = self.ssh("hearthctl", "update", "--json", check=False, seconds=90)
                found = list(json.loads(said)["history"])
            except (OSError, ValueError, TimeoutError):
                return None
            return dict(found[0]) if len(found) >= number else None

        return wait_until(newest, seconds=OUTCOME_SECONDS, what="the update's end", every=3)

    def broken(self, script: str) -> None:
        """Change the other slot, which is slot B, from this one."""
        self.ssh("sh", "-ec", f"mkdir -p /run/b; mount {SLOT_B} /run/b; cd /run/b; {script}")
        self.ssh("sh", "-ec", "umount /run/b; sync")

    @contextmanager
    def watching(self) -> Iterator[Outage]:
        """Asks the homeserver all the time, as a client would."""
        outage = Outage(self)
        outage.start()
        try:
            yield outage
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
            self._ended.wait(0.25)

    def stop(self) -> None:
        self._ended.set()
        self.join(20)
