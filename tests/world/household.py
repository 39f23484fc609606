"""An appliance at home in the box, reduced to what looks after its reach: no homeserver, no pages.

Its code is the device's: hearth-router watches, and a loop does what systemd's units do on the
device: hearth-portmap.path (run the job when the watch has touched its file), and the start of
hearth-ddns.service, for which a systemctl of three lines stands in.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from appliance.deadline import wait_until
from appliance.settings import (
    Ddns,
    Device,
    Owner,
    Public,
    Reach,
    Secrets,
    Server,
    Settings,
    save_toml,
)
from appliance.state import Phase, State, save_state
from world.internet.host import ENVIRONMENT
from world.internet.places import ECHO_URLS, KEYS, NAMESERVER, NAMESERVER_NAME, OWNER_KEY
from world.internet.world import World

ROOT = "/srv/root"
# A name in a DNS of the owner's own, whose interval is too short to be in the way.
OWN = Ddns(
    provider="rfc2136", name="home.example.org", username=OWNER_KEY, endpoint=NAMESERVER_NAME
)
OWN_SECRET = KEYS[OWNER_KEY]
DNAT = "dnat"
SYSTEMCTL = f"""#!/bin/sh
# systemctl start --no-block hearth-ddns.service, as the only one that is started here
export PYTHONPATH={ENVIRONMENT["PYTHONPATH"]}
case "$*" in *start*hearth-ddns.service*)
    python3 -m firstboot --root {ROOT} ddns >> /srv/ddns.log 2>&1 & ;;
esac
"""


class Household:
    """Everything runs from ``start`` to ``stop``."""

    def __init__(self, world: World, ddns: Ddns, secret: str) -> None:
        self.world = world
        self.name = ddns.name
        self.root = world.lan.files / "root"
        hearth = self.root / "data/hearth"
        hearth.mkdir(parents=True)
        settings = Settings(
            owner=Owner(name="anna"),
            device=Device(),
            server=Server(name=ddns.name, reach=Reach.PUBLIC),
            public=Public(ddns=ddns),
        )
        save_toml(settings, hearth / "settings.toml", mode=0o640)
        save_toml(Secrets(ddns_secret=secret), hearth / "secrets.toml", mode=0o600)
        save_state(State(phase=Phase.READY), hearth / "state.json")
        (self.root / "run/hearth").mkdir(parents=True)
        self._news = self.root / "run/hearth-router/changed"
        self._news.parent.mkdir()
        program = world.lan.files / "bin/systemctl"
        program.parent.mkdir()
        program.write_text(SYSTEMCTL)
        program.chmod(0o755)
        self._ended = threading.Event()
        self._path_unit = threading.Thread(target=self._watch_news, daemon=True)

    def start(self) -> None:
        """Returns when the ports are open, the name leads here, and the watch listens."""
        self.run("portmap")
        wait_until(self.is_followed, seconds=60, what=f"{self.name} leading here", every=0.2)
        self.world.lan.start("router-watch", self.argv("router"))
        self._path_unit.start()
        # Its first answer is what later ones are compared with.
        lan = self.world.lan
        asked = "the router is asked by"
        lan.wait_for("router-watch", lambda: asked in lan.log("router-watch"), asked, seconds=60)

    def stop(self) -> None:
        self._ended.set()
        self._path_unit.join()

    def argv(self, *verb: str) -> list[str]:
        echoes = " ".join(ECHO_URLS)
        path = "/srv/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return ["env", f"PATH={path}", f"HEARTH_ECHO_IPV4={echoes}",
                "python3", "-m", "firstboot", "--root", ROOT, *verb]  # fmt: skip

    def run(self, *verb: str) -> str:
        """One run of a job; what it says."""
        done = self.world.lan.run(self.argv(*verb), check=False, seconds=180)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout + done.stderr

    def result(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.root / f"data/hearth/results/{name}.json").read_text()))

    def forget_interval(self, seconds: float) -> None:
        """As if the last update had been so long ago: the provider's interval is not in the way."""
        file = self.root / "data/hearth/results/ddns.json"
        memory = json.loads(file.read_text())
        for name in ("acknowledged_at", "attempted_at", "refreshed_at", "not_before"):
            memory["contract"][name] = max(0.0, memory["contract"].get(name, 0.0) - seconds)
        file.write_text(json.dumps(memory))

    # ---- what somebody outside sees

    def resolved(self) -> str:
        """By the authoritative server itself."""
        argv = ["dig", f"@{NAMESERVER}", "+short", "+tries=1", "+time=2", self.name, "A"]
        return self.world.wan.host.run(argv, check=False).stdout.strip()

    def is_followed(self) -> bool:
        return self.resolved() == self.world.address

    def is_mapped(self) -> bool:
        """Whether the router has rules for all three ports."""
        return self.world.router is not None and self.world.router.mappings().count(DNAT) == 3

    def _watch_news(self) -> None:
        """hearth-portmap.path"""
        while not self._ended.wait(0.05):
            if self._news.exists():
                self.run("portmap")


def tree_of(pid: int) -> list[int]:
    """A process and its children's children."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree_of(int(child))
    return found


def memory_of(pids: list[int]) -> float:
    """PSS in MB: what is shared counts in parts (proc_pid_smaps(5))."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) if line.startswith("Pss:") else 0
    return total * 1024 / 1e6


def cpu_of(pids: list[int]) -> float:
    """Seconds that they have used so far, in user and kernel mode (proc_pid_stat(5))."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
