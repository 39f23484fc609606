"""A machine in a directory for the agent: real files and sockets, and a clock that tests turn."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.bootreport import BootReport, DataCondition, render_boot_report
from appliance.paths import Paths
from appliance.protocol import Claim, Request, SaveOwner, SaveServer, decode_reply, encode_request
from appliance.settings import Reach
from firstboot.agent import Agent
from services.address import Facts, classify, find_wan
from services.echo import Echo
from services.reach import AddressResult
from services.results import save_result
from services.wan import RESULT as ADDRESS
from unit.services.appliance_files import MEMINFO

PASSWORD = "correct horse battery staple"


class HandClock:
    """Stands still until it is turned."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


class GroundedHost:
    """Notes what the agent would have had the machine do; ``refuse`` makes the start fail."""

    def __init__(self) -> None:
        self.acts: list[str] = []
        self.refuse: Exception | None = None

    def start_provisioning(self) -> None:
        if self.refuse:
            raise self.refuse
        self.acts.append("provision")

    def start_network_check(self) -> None:
        self.acts.append("network check")

    def start_address_check(self) -> None:
        self.acts.append("address check")

    def start_tunnel_check(self) -> None:
        self.acts.append("tunnel check")

    def start_federation_check(self) -> None:
        self.acts.append("federation check")

    def look_for_update(self) -> None:
        self.acts.append("look for an update")

    def install_update(self) -> None:
        self.acts.append("install an update")

    def restart_into_update(self) -> None:
        self.acts.append("restart into an update")

    def give_back_ports(self) -> None:
        self.acts.append("give back ports")

    def start_ssh(self) -> None:
        self.acts.append("ssh")

    def start_wifi(self) -> None:
        self.acts.append("wifi")

    def rename(self) -> None:
        self.acts.append("rename")

    def renew_certificate(self) -> None:
        self.acts.append("renew")

    def note_neighbours(self) -> None:
        self.acts.append("neighbours")

    def restart_into_reset(self) -> None:
        self.acts.append("reset")

    def reboot(self) -> None:
        self.acts.append("reboot")


class Machine:
    """``boot`` gives a new agent over the same card; /run is emptied as by a real reboot."""

    def __init__(self, root: Path, *, data: DataCondition = DataCondition.OK) -> None:
        self.paths = Paths(root)
        self.host = GroundedHost()
        self.clock = HandClock()
        self.report = BootReport(slot="A", disk=root / "disk.img", data=data, data_detail="")
        for path in (self.paths.hearth, self.paths.runtime, self.paths.bootfs, root / "proc"):
            path.mkdir(parents=True)
        (root / "proc/meminfo").write_text(MEMINFO)
        self._write_report()

    def start(self) -> Agent:
        """Start (or restart) the agent within one boot."""
        self.agent = Agent(self.paths, host=self.host, clock=self.clock)
        return self.agent

    def boot(self) -> Agent:
        for path in sorted(self.paths.runtime.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self._write_report()
        return self.start()

    def preseed(self, text: str) -> None:
        (self.paths.bootfs / "hearth.toml").write_text(text)

    def claim(self, source: str = "192.0.2.10") -> str:
        return self.ask(Claim(code=self.agent.gate.claim_code.plain, source=source)).token

    def ask(self, request: Request) -> Any:
        """As the pages ask, but without the socket; an error is raised as they see it."""
        return decode_reply(request, self.agent.answer(encode_request(request)))

    def answer_everything(self, session: str) -> int:
        """Fill the wizard in; the draft's revision."""
        self.ask(
            SaveOwner(
                session=session, revision=0, name="anna", timezone="Europe/Berlin",
                password=PASSWORD,
            )
        )  # fmt: skip
        draft = self.ask(
            SaveServer(session=session, revision=1, name="home.example.org", reach=Reach.LAN)
        )
        return draft.revision

    def measured(self, router_wan: str, *, seen: str = "") -> None:
        """What hearth-network-check.service would leave behind a router with that outside."""
        echoes = tuple(
            Echo(service=f"https://ip.example.{top}/", address=seen or router_wan)
            for top in ("com", "net")
        )
        facts = Facts(
            lan="192.168.1.7",
            gateway="192.168.1.1",
            protocol="UPnP",
            router_wan=router_wan,
            echoes=echoes,
        )
        finding = classify(facts)
        wan = find_wan(facts, finding.verdict)
        result = AddressResult(finding=finding, wan=wan, asked=0.0, router_wan=router_wan)
        save_result(self.paths, ADDRESS, result)

    def _write_report(self) -> None:
        self.paths.boot_report.write_text(render_boot_report(self.report))


@contextmanager
def served(agent: Agent) -> Iterator[Path]:
    """The agent behind its real socket."""
    is_ready = threading.Event()
    thread = threading.Thread(target=agent.serve_forever, kwargs={"ready": is_ready.set})
    thread.start()
    assert is_ready.wait(10)
    try:
        yield agent.paths.agent_socket
    finally:
        agent.shutdown()
        thread.join(20)
        assert not thread.is_alive()


def exchange(path: Path, data: bytes, *, close: bool = True) -> bytes:
    """Send ``data`` and read the reply to its end."""
    reply = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        try:
            connection.sendall(data)
            if close:
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                reply += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass
    return bytes(reply)
