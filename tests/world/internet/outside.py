"""Somebody who looks at the home from outside: the public federation tester, under its own name.

``tester/`` is a small server with the real one's contract, over the library that the real one is
made of; why not the real one itself is told there. Built once, in about twenty seconds.
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

from imagebuild.cache import ensure_layer, hash_files
from imagebuild.context import make_context
from imagebuild.host import debian_architecture
from imagebuild.programs import compile_go
from imagebuild.recipe import make_recipe
from imagebuild.tools import ensure_tools
from world.internet.host import Host
from world.internet.places import TESTER, TESTER_NAME
from world.internet.world import World
from world.tree import CACHE

SOURCE = Path(__file__).with_name("tester")
PROGRAM = "tester"


class FederationTester:
    """Started in a world that runs, and gone with it; without it nobody answers at its name."""

    def __init__(self, world: World) -> None:
        self.host: Host = world.add_server("tester", TESTER)
        files = self.host.files
        world.wan.authority.issue([TESTER_NAME], files / "tester.pem", files / "tester.key")
        shutil.copyfile(ensure_tester() / PROGRAM, files / PROGRAM)
        (files / PROGRAM).chmod(0o755)
        self.start()

    def start(self) -> None:
        argv = [f"/srv/{PROGRAM}", f"{TESTER}:443", "/srv/tester.pem", "/srv/tester.key"]
        self.host.start("tester", argv)
        self.host.wait_for_port("tester", 443, address=TESTER)

    def stop(self) -> None:
        self.host.stop("tester")

    @property
    def questions(self) -> list[str]:
        """The names that it was asked about, in order."""
        lines = self.host.log("tester").splitlines()
        return [line.partition('asked about "')[2].rstrip('"') for line in lines if "asked" in line]


def ensure_tester() -> Path:
    """The directory with the program."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "tester.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = hash_files([SOURCE], base=SOURCE)
        return ensure_layer(CACHE, "tester", key, _make, title="Building the federation tester")


def _make(target: Path) -> None:
    """By the Go that builds the image's Dendrite; it names the program after the module."""
    context = make_context(make_recipe("hearth"))
    ensure_tools(context)
    compile_go(context, PROGRAM, target, SOURCE, ["."], debian_architecture())
