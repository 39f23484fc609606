"""The verdict's checks against the real services, and each of them dead; and against real links."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from world.appliance import answer_wizard, boot, wait_for_setup
from world.stack import Provisioned

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]

MEASURE = """
import json
from appliance.paths import Paths
from services.health.verdict import Look, measure
from services.units import SystemdUnits
look = Look(paths=Paths(), units=SystemdUnits(), unfinished=str, outside=())
print(json.dumps({name: [p.passed, p.evidence] for name, p in measure(look).items()}))
"""
OURS = {"settings", "systemd", "data", "agent", "nginx", "pages", "sign-in", "database", "identity",
        "homeserver", "client"}  # fmt: skip


@pytest.fixture(scope="module")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    appliance = Provisioned("dendrite", tmp_path_factory.mktemp("verdict"))
    appliance.sandbox.__enter__()
    try:
        answer_wizard(appliance.sandbox, "dendrite")
        boot(appliance.sandbox)
        assert wait_for_setup(appliance.sandbox)["phase"] == "ready"
        yield appliance
    finally:
        appliance.sandbox.__exit__(None, None, None)


def measure(appliance: Provisioned) -> dict[str, tuple[bool, str]]:
    found = json.loads(appliance.sandbox.python(MEASURE))
    return {name: (passed, evidence) for name, (passed, evidence) in found.items()}


def failing(appliance: Provisioned) -> set[str]:
    return {name for name, (passed, _) in measure(appliance).items() if not passed}


def test_a_healthy_appliance_passes_every_check(provisioned: Provisioned) -> None:
    found = measure(provisioned)
    assert set(found) == OURS
    assert {name: evidence for name, (passed, evidence) in found.items() if not passed} == {}


@pytest.mark.parametrize(
    ("unit", "seen"),
    [
        ("hearth-postgresql.service", {"database"}),
        ("hearth-dendrite.service", {"homeserver", "client"}),
        ("hearth-agent.service", {"agent"}),
        ("hearth-ui.service", {"sign-in"}),
        ("nginx.service", {"nginx", "pages", "sign-in", "client"}),
    ],
)
def test_what_is_dead_is_seen(provisioned: Provisioned, unit: str, seen: set[str]) -> None:
    sandbox = provisioned.sandbox
    sandbox.run(["systemctl", "stop", unit])
    try:
        assert failing(provisioned) >= seen
    finally:
        sandbox.run(["systemctl", "start", unit])
        sandbox.run(["systemctl", "start", "hearth-dendrite.service"])
    wait_until(lambda: not failing(provisioned), seconds=90, what="health after the start", every=1)


# ---- the router, over links that tests make and break


ROUTER = """
import json
from services.health.result import Examination
from services.health.route import RouteCheck
result = RouteCheck().run(None)
print(json.dumps([result.verdict.value, result.evidence]))
"""
HOME = """
ip link set lo up
ip link add lan type veth peer name port
ip address add 192.0.2.7/24 dev lan
ip link set lan up
ip link set port up
"""
GATEWAY = """
ip route add default via 192.0.2.1
"""
# The router in a network namespace of its own, as a child of ours.
ANSWERS = """
unshare --net sleep 60 &
router=$!
trap "kill $router" EXIT
until [ "$(readlink /proc/$router/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.1; done
ip link set port netns $router
nsenter --net=/proc/$router/ns/net ip address add 192.0.2.1/24 dev port
nsenter --net=/proc/$router/ns/net ip link set port up
"""


def ask(script: str) -> tuple[str, str]:
    """The check's answer in a network namespace that ``script`` has set up."""
    ask_router = f'"{sys.executable}" -c "$ROUTER"\n'
    result = subprocess.run(
        ["unshare", "--net", "bash", "-ec", f"{script}\n{ask_router}"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ROUTER": ROUTER, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
    )
    assert result.returncode == 0, result.stderr
    verdict, evidence = json.loads(result.stdout)
    return verdict, evidence


def test_no_link_is_no_router() -> None:
    verdict, evidence = ask("")
    assert verdict == "fail"
    assert "no default route" in evidence


def test_a_router_that_does_not_answer_is_none() -> None:
    verdict, evidence = ask(HOME + GATEWAY)
    assert (verdict, evidence) == ("fail", "the router does not answer: 192.0.2.1")


def test_a_router_that_answers() -> None:
    assert ask(HOME + ANSWERS + GATEWAY) == ("ok", "192.0.2.1 on lan answers")


def test_a_router_of_the_other_protocol_alone() -> None:
    script = (HOME + ANSWERS).replace("192.0.2.7/24", "2001:db8::7/64 nodad")
    script = script.replace("192.0.2.1/24", "2001:db8::1/64 nodad")
    script += "\nip -6 route add default via 2001:db8::1\n"
    assert ask(script) == ("ok", "2001:db8::1 on lan answers")
