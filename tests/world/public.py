"""A sandboxed appliance in the home of a world, with a name that the world shall find it under."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from world.appliance import answer_wizard, boot, wait_for_setup
from world.internet.ddns_endpoints import SECRET
from world.internet.places import OUTSIDER, ROUTER
from world.internet.trust import install_roots
from world.internet.world import World
from world.sandbox import Sandbox
from world.tree import ensure_tree

NAME = "hearth.duckdns.org"
NAMES = (NAME, f"matrix.{NAME}", f"chat.{NAME}")
ADDRESS = "192.0.2.50"
GO_PUBLIC = f"""
from dataclasses import replace
from appliance.paths import Paths
from appliance.settings import *
paths = Paths()
settings = load_settings(paths.settings)
save_toml(
    replace(
        settings,
        server=replace(settings.server, name={NAME!r}, reach=Reach.PUBLIC),
        public=Public(ddns=Ddns(provider="duckdns", name={NAME!r}), sub_names=True),
    ),
    paths.settings,
    mode=0o640,
)
save_toml(replace(load_secrets(paths.secrets), ddns_secret={SECRET!r}), paths.secrets, mode=0o600)
"""


@contextmanager
def public_appliance(
    world: World,
    state: Path,
    software: str,
    prepare: Callable[[Sandbox], None] = lambda _sandbox: None,
) -> Iterator[Sandbox]:
    """Provisioned, with public settings, plugged into the home's switch.

    ``prepare`` changes the answers before they are applied.
    """
    with Sandbox(ensure_tree(), state, alone=False) as sandbox:
        world.plug_in(sandbox)
        sandbox.batch_ip(f"address add {ADDRESS}/24 dev eth0\nroute add default via {ROUTER}")
        # What networkd would have learnt by DHCP; the agent makes resolv.conf of it.
        learnt = f"mkdir -p /run/systemd/netif; echo DNS={ROUTER} > /run/systemd/netif/state"
        sandbox.run(["sh", "-c", learnt])
        install_roots(sandbox, world.wan.roots)
        install_roots(world.wan.host, world.wan.roots)
        sandbox.run(["mkdir", "-p", "/run/systemd/timesync"])
        sandbox.run(["touch", "/run/systemd/timesync/synchronized"])
        answer_wizard(sandbox, software)
        sandbox.python(GO_PUBLIC)
        prepare(sandbox)
        boot(sandbox)
        state_after = wait_for_setup(sandbox)
        assert state_after["phase"] == "ready", json.dumps(state_after, indent=1)
        yield sandbox


def run_jobs(hearth: Sandbox, *verbs: str) -> None:
    """What the timers would start, one after the other; each must have succeeded."""
    for verb in verbs:
        done = hearth.hearthctl(*verb.split(), check=False)
        assert done.returncode == 0, f"{verb}:\n{done.stdout}{done.stderr}"


def result(hearth: Sandbox, name: str) -> dict[str, object]:
    return dict(json.loads((hearth.data / f"hearth/results/{name}.json").read_text()))


def from_outside(world: World, url: str) -> str:
    """What somebody far away gets; the certificate must be the world's."""
    argv = ["curl", "-sS", "--fail", "--max-time", "20", "--interface", OUTSIDER, url]
    return world.wan.host.run(argv, seconds=40).stdout
