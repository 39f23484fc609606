"""Other servers and ours: found, joined, checked from outside, and woken after an outage.

All out there is real or stands for the real one as its module says: bind9, miniupnpd, pebble, a
second Synapse, the federation tester. Simulated: systemd (systemctl.py), and the settings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.deadline import wait_until
from appliance.errors import DeadlineError
from world.appliance import OWNER, PASSWORD
from world.internet.options import VARIANTS
from world.internet.outside import FederationTester
from world.internet.places import LINE_ADDRESS, REMOTE, REMOTE_NAME
from world.internet.remote import PASSWORD as REMOTE_PASSWORD
from world.internet.remote import Remote
from world.internet.world import World
from world.public import NAME, public_appliance, result, run_jobs
from world.sandbox import Sandbox
from world.tree import REPOSITORY

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]

MATRIX = f"https://matrix.{NAME}"
TALK_SECONDS = 240
# The remote sends what it holds at once; without the call it would be ten minutes (Synapse's
# destination_min_retry_interval), which nobody here waits for.
SILENCE_SECONDS = 20.0
WOKEN_SECONDS = 15.0


# Without the minute over which many appliances spread their calls after a power cut, and the time
# that others may remember the address before.
DUE = """
from appliance.paths import Paths
from firstboot import wakeup, wakeup_plan
wakeup.START_JITTER_SECONDS = wakeup_plan.SETTLE_SECONDS = 0.0
raise SystemExit(wakeup.run_wakeup(Paths(), due=True, dry_run=False, as_json=False))
"""
SIGNATURE = "X-Matrix"


@pytest.fixture(scope="module", params=["synapse", "dendrite"])
def software(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def world(software: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world for each: to the other servers of one, a second appliance of that name is a fraud."""
    with World(tmp_path_factory.mktemp(f"world-{software}")) as world:
        yield world


@pytest.fixture(scope="module")
def hearth(
    software: str, world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    """Public, with ports, name and certificate."""
    state = tmp_path_factory.mktemp(f"hearth-{software}")
    with public_appliance(world, state, software) as sandbox:
        run_jobs(sandbox, "portmap --urgent", "ddns", "acme")
        yield sandbox


@pytest.fixture(scope="module")
def remote(world: World) -> Remote:
    return Remote(world)


@pytest.fixture(scope="module")
def tester(world: World) -> FederationTester:
    return FederationTester(world)


class Client:
    """Our owner's client somewhere out there."""

    def __init__(self, world: World) -> None:
        self._host = world.wan.host
        user = {"type": "m.id.user", "user": OWNER}
        body = {"type": "m.login.password", "identifier": user, "password": PASSWORD}
        self._token = ""
        self._token = self.ask("POST", "/login", body)["access_token"]

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        argv = ["curl", "-sS", "--max-time", "60", "--request", method,
                "--header", f"Authorization: Bearer {self._token}",
                f"{MATRIX}/_matrix/client/v3{path}"]  # fmt: skip
        if body is not None:
            argv += ["--data", json.dumps(body)]
        answer: dict[str, Any] = json.loads(self._host.run(argv, seconds=90).stdout)
        return answer

    def messages(self, room: str) -> list[str]:
        answer = self.ask("GET", f"/rooms/{room}/messages?dir=b&limit=20")
        return [event["content"].get("body", "") for event in answer["chunk"]]


def talk(world: World, tmp_path: Path, people: list[list[str]], alias: str, e2e: bool) -> Any:
    """World.chat in the namespace ``wan``."""
    authority = tmp_path / "roots.pem"
    authority.write_text("".join(world.wan.roots))
    order = {"addresses": {f"matrix.{NAME}": LINE_ADDRESS, REMOTE_NAME: REMOTE},
             "authority": str(authority), "people": people, "alias": alias, "e2e": e2e}  # fmt: skip
    argv = ["nsenter", f"--target={world.wan.host.pid}", "--net",
            sys.executable, "-m", "world.chat", json.dumps(order)]  # fmt: skip
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=TALK_SECONDS, check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return json.loads(done.stdout)


@pytest.mark.parametrize("e2e", [False, True], ids=["plain", "encrypted"])
def test_a_room_is_joined_by_alias_and_both_sides_speak(
    world: World, hearth: Sandbox, remote: Remote, tmp_path: Path, e2e: bool
) -> None:
    name = f"guest{time.time_ns()}"
    remote.add_user(name)
    people = [[MATRIX, f"@{OWNER}:{NAME}", PASSWORD],
              [f"https://{REMOTE_NAME}", f"@{name}:{REMOTE_NAME}", REMOTE_PASSWORD]]  # fmt: skip
    alias = f"#{name}:{NAME}"
    room, *decrypted = talk(world, tmp_path, people, alias, e2e)
    assert room.startswith("!")
    assert decrypted == [e2e, e2e]


def test_the_check_says_good_only_once_somebody_outside_has_looked(
    world: World, hearth: Sandbox, tester: FederationTester
) -> None:
    tester.stop()
    forget(hearth)
    found = check(hearth)
    assert (found["judgement"], found["cause"]) == ("unsure", "inside-only"), found
    assert all(part["judgement"] == "good" for part in found["parts"][1:]), found
    tester.start()
    again(hearth)
    found = check(hearth)
    assert (found["judgement"], found["cause"]) == ("good", "good"), json.dumps(found, indent=1)
    assert found["seen_from_outside"]
    asked = len(tester.questions)
    assert set(tester.questions) == {NAME}
    # Not again within ten minutes, whoever asks; and nothing at all while nothing is due.
    assert check(hearth)["cause"] == "good"
    run_jobs(hearth, "federation check --save --due")
    assert len(tester.questions) == asked


def test_another_server_is_looked_at_from_here(hearth: Sandbox, remote: Remote) -> None:
    done = hearth.hearthctl("federation", "check", REMOTE_NAME, "--json")
    found = json.loads(done.stdout)
    assert found["judgement"] == "good"
    assert any(part["detail"].startswith("step 6") for part in found["parts"])


def test_a_missed_message_arrives_within_seconds_of_the_call(
    world: World, hearth: Sandbox, remote: Remote
) -> None:
    stamp = time.time_ns()
    guest = remote.add_user(f"friend{stamp}")
    client = Client(world)
    created = client.ask(
        "POST", "/createRoom", {"preset": "public_chat", "room_alias_name": f"club{stamp}"}
    )
    room = created["room_id"]
    alias = f"%23club{stamp}%3A{NAME}"
    # The remote gives us five seconds, which busy cores may exceed; a friend would press again.
    wait_until(
        lambda: remote.ask("POST", f"/_matrix/client/v3/join/{alias}", {}, guest).get("room_id")
        == room,
        seconds=90, every=2, what="the friend's joining the room",
    )  # fmt: skip
    say(remote, guest, room, "are you there?")
    wait_until(lambda: "are you there?" in client.messages(room), seconds=30, what="a message")
    world.fail_line()
    try:
        say(remote, guest, room, "missed you")
        waiting = wait_until(
            lambda: remote.retry_interval(NAME), seconds=60, what="the remote's back-off"
        )
    finally:
        world.mend_line()
    assert waiting >= 600_000, "ten minutes at least, in ms"
    # Our side is back; the other one does not know.
    with pytest.raises(DeadlineError):
        wait_until(
            lambda: "missed you" in client.messages(room), seconds=SILENCE_SECONDS, every=2,
            what="the message without a call",
        )  # fmt: skip
    assert remote.retry_interval(NAME) == waiting
    listed = json.loads(hearth.hearthctl("wakeup", "--dry-run", "--json").stdout)
    assert listed["servers"] == [REMOTE_NAME]
    begin = time.monotonic()
    said = json.loads(hearth.hearthctl("wakeup", "--json").stdout)
    assert (said["found"], said["woken"]) == (1, 1), said
    wait_until(
        lambda: "missed you" in client.messages(room), seconds=WOKEN_SECONDS, every=0.5,
        what="the message after the call",
    )  # fmt: skip
    print(f"the missed message came {time.monotonic() - begin:.1f} s after the call began")
    assert remote.retry_interval(NAME) == 0
    due = json.loads(hearth.hearthctl("wakeup", "--dry-run", "--json").stdout)
    assert not due["due"], "not again for the same boot and address"
    before = result(hearth, "wakeup")
    run_jobs(hearth, "wakeup --due")
    assert result(hearth, "wakeup") == before


def test_after_a_start_the_call_is_made_without_a_hand(hearth: Sandbox, remote: Remote) -> None:
    """As hearth-wakeup.timer has it made after the next boot, two hours later."""
    file = hearth.data / "hearth/results/wakeup.json"
    memory = json.loads(file.read_text())
    memory |= {"boot": "the one before", "rounds": [one - 7200 for one in memory["rounds"]]}
    file.write_text(json.dumps(memory))
    assert hearth.python(DUE) == ""
    found = result(hearth, "wakeup")
    assert (found["found"], found["woken"]) == (1, 1), found
    assert found["boot"] != "the one before"
    assert SIGNATURE not in "".join(path.read_text() for path in file.parent.iterdir())


def test_a_lying_router_is_found_out(
    world: World, hearth: Sandbox, tester: FederationTester
) -> None:
    """It says that the ports are mapped, and even leads its own address back in from inside."""
    world.options = VARIANTS["lying"]
    world.reboot_router()
    try:
        run_jobs(hearth, "portmap --urgent")
        forget(hearth)
        found = check(hearth)
    finally:
        world.options = VARIANTS["plain"]
        world.reboot_router()
    assert (found["judgement"], found["cause"]) == ("bad", "nothing-arrives"), found
    parts = {part["name"]: part for part in found["parts"]}
    assert parts["inside"]["judgement"] == "good", "from inside all seems well"
    # Not 443: whoever gets no well-known goes on to the port of step 6.
    assert f"{LINE_ADDRESS}:8448: no answer in time" in parts["outside"]["detail"]
    assert doctor(hearth, "federation")["verdict"] == "fail"


def check(hearth: Sandbox) -> dict[str, Any]:
    hearth.hearthctl("federation", "check", "--save")
    return result(hearth, "federation")


def doctor(hearth: Sandbox, name: str) -> dict[str, Any]:
    code = ("import json; from appliance.paths import Paths; from appliance.tables import to_table;"
            "from firstboot import doctor;"
            f"report = doctor.run(Paths(), checks=doctor.find_checks([{name!r}]));"
            "print(json.dumps(to_table(report)))")  # fmt: skip
    [finding] = json.loads(hearth.python(code))["findings"]
    return dict(finding)


def forget(hearth: Sandbox) -> None:
    """As if the tester had never been asked."""
    for name in ("federation", "federation-tester"):
        (hearth.data / f"hearth/results/{name}.json").unlink(missing_ok=True)


def again(hearth: Sandbox) -> None:
    """As if the tester had been asked eleven minutes ago."""
    file = hearth.data / "hearth/results/federation-tester.json"
    memory = json.loads(file.read_text())
    memory["asked"] -= 660
    file.write_text(json.dumps(memory))


def say(remote: Remote, token: str, room: str, body: str) -> None:
    path = f"/_matrix/client/v3/rooms/{room}/send/m.room.message/{time.time_ns()}"
    remote.ask("PUT", path, {"msgtype": "m.text", "body": body}, token)
