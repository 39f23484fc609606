"""The agent as the unit starts it: a process of its own, asked by hearthctl, ended by SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.bootreport import BootReport, DataCondition, render_boot_report
from appliance.deadline import wait_until
from appliance.hostname import host_name
from appliance.paths import Paths
from appliance.protocol import Claim, GetStatus, decode_reply, encode_request
from appliance.state import Phase, State, StepState, StepStatus, load_state, save_state
from firstboot.resident import of_that_name
from services.authority import note_addresses
from services.mdns import OwnName
from services.network import local_addresses
from unit.firstboot.machine import exchange
from unit.services.appliance_files import MEMINFO

PUBLISH = """#!/bin/sh
echo "Established under name 'hearth.local'"
exec sleep 600
"""
BUSCTL = """#!/bin/sh
echo 's "hearth-ab12.local"'
"""
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPNRpyCpqHiFTnJOCBDnZC6ZVNPoFiwUyxFOSxC0gPaV anna"


class Box:
    """An appliance's directories, with stand-ins for the programs of the machine around it."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.programs = root / "bin"
        for name in ("run/hearth", "boot/firmware", "data/hearth", "dev", "bin", "proc",
                     "sys/class/tty/console", "run/systemd/netif"):  # fmt: skip
            (root / name).mkdir(parents=True)
        (root / "sys/class/tty/console/active").write_text("ttyAMA0\n")
        (root / "proc/meminfo").write_text(MEMINFO)
        self.serial = root / "dev/ttyAMA0"
        self.serial.touch()
        report = BootReport(slot="A", disk=root / "card", data=DataCondition.OK, data_detail="")
        self.paths.boot_report.write_text(render_boot_report(report))
        self.program("avahi-publish", PUBLISH)
        self.program("busctl", BUSCTL)
        self.program("systemctl", f'#!/bin/sh\necho "$@" >> {root}/systemctl\n')

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "firstboot", "--root", str(self.paths.root), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        return {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    def ask(self, request: Any) -> Any:
        return decode_reply(request, exchange(self.paths.agent_socket, encode_request(request)))

    def serial_says(self, text: str) -> bool:
        return text in self.serial.read_text()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


@pytest.fixture
def start(box: Box) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start_agent(**extra: str) -> subprocess.Popen[str]:
        """Started with a NOTIFY_SOCKET, as by systemd; returns when it says that it is ready."""
        address = box.paths.root / "notify"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(address))
            notify.settimeout(30)
            environment = {**box.environment, "NOTIFY_SOCKET": str(address), **extra}
            process = subprocess.Popen(box.command("agent"), env=environment, text=True)
            running.append(process)
            assert notify.recv(100) == b"READY=1"
        return process

    yield start_agent
    for process in running:
        if process.poll() is None:
            process.terminate()
        assert process.wait(30) == 0


def test_a_life(box: Box, start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start()
    wait_until(lambda: box.serial_says("claim code"), seconds=20, what="the console")
    code = (box.paths.runtime / "claim-code").read_text().strip()
    assert box.serial_says(f"claim code {code}")
    wait_until(lambda: len(box.ask(GetStatus()).names) == 2, seconds=20, what="both names")
    assert box.ask(GetStatus()).names == ("hearth-ab12.local", "hearth.local")
    token = box.ask(Claim(code=code, source="192.0.2.10")).token
    assert token
    wait_until(lambda: box.serial_says("state setup"), seconds=20, what="the console's next block")
    process.terminate()
    assert process.wait(20) == 0
    start()
    from appliance.protocol import GetDraft

    assert box.ask(GetDraft(session=token)).revision == 0


def test_provisioning_is_noticed_by_its_file(
    box: Box, start: Callable[..., subprocess.Popen[str]]
) -> None:
    start()
    save_state(State(phase=Phase.FAILED), box.paths.state)
    wait_until(lambda: box.serial_says("state failed"), seconds=20, what="news of state.json")


def test_the_watch_outlives_what_it_cannot_read(
    box: Box, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """networkd's file holds what a router said, and that need not be text."""
    state = box.paths.root / "run/systemd/netif/state"
    state.write_bytes(b"DOMAINS=\xff\xfe\n")
    start()
    session = box.paths.runtime / "claim-code"
    wait_until(session.exists, seconds=20, what="the claim code")
    new = state.with_name("state.new")
    new.write_text("DNS=192.0.2.1\n")
    new.replace(state)
    wait_until(lambda: box.serial_says("claim code"), seconds=20, what="the console")


def test_a_new_address_starts_the_certificates_unit(
    box: Box, start: Callable[..., subprocess.Popen[str]]
) -> None:
    assert local_addresses(), "this test needs a machine with an address besides loopback's"
    box.paths.certificates.mkdir()
    start()
    wait_until(lambda: box.serial_says("claim code"), seconds=20, what="the console")
    calls = box.paths.root / "systemctl"
    assert not calls.exists(), "the first certificate is the timer's business"
    # As if it had been signed before the network gave the address that this machine has now.
    note_addresses(box.paths, frozenset(["192.0.2.99"]))
    wanted = "start --no-block hearth-certificate.service"
    wait_until(
        lambda: calls.exists() and wanted in calls.read_text(), seconds=20, what="the renewal"
    )


def test_a_new_network_over_ipv6_starts_the_unit_that_knows_neighbours(
    box: Box, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """A neighbour's address of a prefix that has just come is a stranger's until then."""
    routes = box.paths.root / "proc/net/ipv6_route"
    routes.parent.mkdir(parents=True)
    routes.write_text("")
    start()
    wait_until(lambda: box.serial_says("claim code"), seconds=20, what="the console")
    calls = box.paths.root / "systemctl"
    assert not calls.exists(), "what stands from the start fits"
    zero = "00000000000000000000000000000000"
    prefix = f"20010db8000100020000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000"
    routes.write_text(f"{prefix} 00000001     eth0\n")
    save_state(State(phase=Phase.SETUP), box.paths.state)  # any news; netlink's is not ours to make
    wanted = "restart --no-block hearth-neighbours.service"
    wait_until(
        lambda: calls.exists() and wanted in calls.read_text(), seconds=20, what="the unit's start"
    )


def test_name_servers_are_written_when_the_network_says_them(
    box: Box, start: Callable[..., subprocess.Popen[str]]
) -> None:
    start()
    state = box.paths.root / "run/systemd/netif/state"
    new = state.with_name("state.new")
    new.write_text("DNS=192.0.2.1\n")
    new.replace(state)
    resolver = box.paths.runtime / "resolv.conf"
    wait_until(
        lambda: resolver.exists() and "192.0.2.1" in resolver.read_text(),
        seconds=20, what="resolv.conf",
    )  # fmt: skip


def test_the_name_that_was_set_at_flashing_is_no_false_alarm(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the agent's cage the kernel's name stays that of its start: avahi is right, not it."""
    monkeypatch.setenv("PATH", box.environment["PATH"])
    box.program("busctl", "#!/bin/sh\necho 's \"attic.local\"'\n")
    own = OwnName("hearth-ab12")
    own.refresh("first")
    assert own.wait_seconds() is not None  # avahi would be told the old name again
    box.paths.system.mkdir()
    (box.paths.system / "hostname").write_text("attic\n")
    renamed = of_that_name(own, host_name(box.paths))
    renamed.refresh("second")
    assert renamed.name == "attic.local"
    assert renamed.wait_seconds() is None
    assert of_that_name(renamed, host_name(box.paths)) is renamed


def test_a_key_on_bootfs_switches_ssh_on(
    box: Box, start: Callable[..., subprocess.Popen[str]]
) -> None:
    (box.paths.bootfs / "hearth.toml").write_text(f'ssh_key = "{SSH_KEY}"\n')
    box.paths.ssh.mkdir()
    start()
    calls = box.paths.root / "systemctl"
    wait_until(
        lambda: calls.exists() and "ssh.service" in calls.read_text(), seconds=30, what="sshd"
    )
    assert (box.paths.runtime / "ssh/authorized_keys").read_text() == f"{SSH_KEY}\n"
    key = box.paths.ssh / "ssh_host_ed25519_key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert "ed25519" in key.with_suffix(".pub").read_text()


def test_without_a_key_ssh_stays_off(box: Box, start: Callable[..., subprocess.Popen[str]]) -> None:
    start()
    wait_until(lambda: box.serial_says("claim code"), seconds=20, what="the console")
    assert not (box.paths.root / "systemctl").exists()
    assert not box.paths.ssh.exists()


def test_an_interrupted_setup_starts_its_unit(
    box: Box, start: Callable[..., subprocess.Popen[str]]
) -> None:
    save_state(State(phase=Phase.APPLYING), box.paths.state)
    start()
    calls = box.paths.root / "systemctl"
    wanted = "start --no-block hearth-provision.service"
    wait_until(
        lambda: calls.exists() and wanted in calls.read_text(), seconds=30, what="provisioning"
    )


KILLED = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from appliance.paths import Paths
from firstboot.provision import provision
def die(context):
    context.report("half-way")
    os.kill(os.getpid(), signal.SIGKILL)
steps = [
    SimpleNamespace(name="one", title="One", is_done=lambda context: True, apply=None),
    SimpleNamespace(name="two", title="Two", is_done=lambda context: False, apply=die),
    SimpleNamespace(name="three", title="Three", is_done=lambda context: False, apply=die),
]
provision(Paths(Path(sys.argv[1])), None, steps=steps)
"""


@pytest.mark.parametrize(("machine", "phase"), [("running", "failed"), ("stopping", "applying")])
def test_a_killed_setup_does_not_run_for_ever(box: Box, machine: str, phase: str) -> None:
    """As systemd's ExecStopPost runs it; at a reboot the next start goes on by itself."""
    box.program("systemctl", f"#!/bin/sh\necho {machine}\n")
    process = subprocess.run(
        [sys.executable, "-c", KILLED, box.paths.root], env=box.environment, check=False
    )
    assert process.returncode == -signal.SIGKILL
    assert load_state(box.paths.state).phase is Phase.APPLYING
    environment = {**box.environment, "SERVICE_RESULT": "oom-kill", "EXIT_STATUS": "KILL"}
    result = subprocess.run(box.command("provision-ended"), env=environment, check=False)
    assert result.returncode == 0
    state = load_state(box.paths.state)
    assert state.phase == phase
    states = [step.state for step in state.steps]
    assert states == ["skipped", "failed" if phase == "failed" else "running", "pending"]
    assert ("memory ran out" in state.steps[1].error) is (phase == "failed")


@pytest.mark.parametrize("phase", [Phase.READY, Phase.FAILED])
def test_a_run_that_spoke_for_itself_is_left_alone(box: Box, phase: Phase) -> None:
    save_state(State(phase=phase), box.paths.state)
    assert box.ctl("provision-ended").returncode == 0
    assert load_state(box.paths.state) == State(phase=phase)


def test_trying_again_at_once_is_no_death(box: Box) -> None:
    """The agent has written "applying" while the failed run's ExecStopPost was still starting."""
    failed = StepStatus(name="one", title="One", state=StepState.FAILED, error="no")
    state = State(phase=Phase.APPLYING, steps=(failed,))
    save_state(state, box.paths.state)
    environment = {**box.environment, "SERVICE_RESULT": "exit-code", "EXIT_STATUS": "6"}
    subprocess.run(box.command("provision-ended"), env=environment, check=True)
    assert load_state(box.paths.state) == state


def test_a_socket_from_systemd_is_used(box: Box) -> None:
    """As sd_listen_fds(3) describes: the socket is descriptor 3, LISTEN_PID is the process."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(box.paths.agent_socket))
        door.listen(5)
        inode = box.paths.agent_socket.stat().st_ino
        script = 'exec 3<&"$DOOR"; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *box.command("agent")],
            env={**box.environment, "DOOR": str(door.fileno())},
            pass_fds=(door.fileno(),),
        )
        try:
            # Asked before the agent is up: the question waits in the socket.
            assert box.ask(GetStatus()).data == "ok"
            assert box.paths.agent_socket.stat().st_ino == inode
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def test_it_is_small(box: Box, start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start()
    wait_until(lambda: box.serial_says("claim code"), seconds=20, what="the console")
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    [pss] = [line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")]
    assert int(pss) < 20 * 1024


# ---- hearthctl ----------------------------------------------------------------------------------


def test_status_for_people_and_for_scripts(
    box: Box, start: Callable[..., subprocess.Popen[str]]
) -> None:
    start()
    text = box.ctl("status").stdout
    assert "state:       unclaimed" in text
    assert "slot:        unknown" in text
    table = json.loads(box.ctl("status", "--json").stdout)
    assert table["phase"] == "unclaimed"
    assert "error" in table["slot"]


def test_status_without_an_agent_says_what_to_do(box: Box) -> None:
    result = box.ctl("status")
    assert result.returncode == 11
    assert "the agent does not answer" in result.stderr
    assert "hint: look at: journalctl -u hearth-agent" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("reply", [b"", b"nonsense\n", b"[]\n"])
def test_an_agent_that_dies_while_it_answers_is_told(box: Box, reply: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(box.paths.agent_socket))
        door.listen(1)
        asking = subprocess.Popen(
            box.command("status"), env=box.environment, stderr=subprocess.PIPE, text=True
        )
        connection, _ = door.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(reply)
        _, said = asking.communicate(timeout=60)
    assert asking.returncode == 11
    assert said.startswith("error: the agent was asked for its status and said ")
    assert "Traceback" not in said


def test_what_the_kernel_refuses_is_a_sentence(box: Box) -> None:
    """A full file system, as /dev/full plays it; and a file that cannot be read."""
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            box.command("apply", "--dry-run"), env=box.environment, stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    if os.geteuid() == 0:
        assert result.returncode == 8
        assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    box.paths.state.mkdir()
    result = box.ctl("certificate")
    assert result.returncode == 3
    assert result.stderr.startswith(f"error: cannot read {box.paths.state}: ")


def test_help_teaches_and_hides_what_is_for_units(box: Box) -> None:
    text = box.ctl("--help").stdout
    assert "hearthctl status --json" in text
    assert "slot-good" not in text
    assert "recovery-file" not in text
    assert box.ctl("nonsense").returncode == 2


def test_the_qr_code_is_one_that_a_reader_takes(box: Box) -> None:
    """Turned back into modules and compared with the library's own matrix."""
    import segno

    text = box.ctl("qr", "http://192.0.2.15/").stdout
    assert "\u00a0" not in text
    code = segno.make("http://192.0.2.15/", error="l", micro=False)
    expected = [[bool(module) for module in row] for row in code.matrix_iter(border=2)]
    halves = {" ": (1, 1), "\u2580": (0, 1), "\u2584": (1, 0), "\u2588": (0, 0)}
    rows: list[list[bool]] = []
    for line in text.splitlines():
        pairs = [halves[char] for char in line]
        rows += [[bool(top) for top, _ in pairs], [bool(low) for _, low in pairs]]
    assert rows[: len(expected)] == expected
