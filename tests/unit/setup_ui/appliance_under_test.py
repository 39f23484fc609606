"""A whole appliance in a directory: the real agent in a thread, and the wizard that asks it.

Only the machine below is replaced, at the edge that the agent defines for it (firstboot.host.Host):
no unit is started and nothing reboots. Phases that provisioning would reach are written to
state.json, which is the contract between provisioning and the progress page.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache

from appliance.answers import Judgement
from appliance.bootreport import BootReport, DataCondition, render_boot_report
from appliance.paths import Paths
from appliance.state import Phase, State, StepState, StepStatus, save_state
from firstboot.address_check import RESULT as ADDRESS_CHECK
from firstboot.address_check import AddressCheck
from firstboot.agent import Agent
from firstboot.tunnel_check import RESULT as TUNNEL_CHECK
from firstboot.tunnel_check import judge, judge_silence
from services.address import Facts, classify, find_wan
from services.ddns.outcome import Kind, Outcome
from services.echo import Echo
from services.portmap.causes import Cause as Refusal
from services.reach import AddressResult
from services.results import save_result
from services.tunnel.device import Look
from services.tunnel.diagnose import Cause, Diagnosis
from services.wan import RESULT as ADDRESS
from setup_ui import create_app
from setup_ui.config import UiConfig

SOURCE = Path(__file__).resolve().parents[3]
NAMES = ("hearth.local", "hearth-ab12.local")
PASSWORD = "correct horse battery staple"
CODE = "seven purple kettles"
IMAGE_FACTS = """{"version": "0.1.0", "development": true, "boot_interface": 1,
 "update_url": "https://updates.example.org/hearth"}"""


class CompiledTemplates(BytecodeCache):
    """Compiling the templates once instead of for every test's application halves the run."""

    def __init__(self) -> None:
        self.code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.code:
            bucket.bytecode_from_string(self.code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.code[bucket.key] = bucket.bytecode_to_string()


TEMPLATES = CompiledTemplates()


class GroundedHost:
    """Notes what the agent would have had the machine do."""

    def __init__(self) -> None:
        self.acts: list[str] = []
        self.checks: list[str] = []

    def start_network_check(self) -> None:
        self.checks.append("network")

    def start_address_check(self) -> None:
        self.checks.append("address")

    def start_tunnel_check(self) -> None:
        self.checks.append("tunnel")

    def start_provisioning(self) -> None:
        self.acts.append("provision")

    def start_federation_check(self) -> None:
        self.checks.append("federation")

    def look_for_update(self) -> None:
        self.checks.append("look for an update")

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


class Appliance:
    """``agent`` is None while it is stopped; ``app`` is the wizard."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.host = GroundedHost()
        self.agent: Agent | None = None
        self._thread: threading.Thread | None = None
        for path in (
            self.paths.hearth,
            self.paths.runtime,
            self.paths.bootfs,
            self.paths.certificates,
        ):
            path.mkdir(parents=True)
        (self.paths.bootfs / "hearth.toml").write_text(f'claim_code = "{CODE}"\n')
        self._write("usr/share/hearth/image.json", IMAGE_FACTS)
        self._write("proc/cmdline", "rauc.slot=A ro quiet\n")
        self._write("proc/meminfo", "MemTotal:        3843332 kB\n")
        self._write("proc/device-tree/model", "Raspberry Pi 4 Model B")
        self.paths.templates.symlink_to(SOURCE / "overlays/base/usr/share/hearth/templates")
        self.report(DataCondition.OK)
        self.app: Flask = create_app(UiConfig(paths=self.paths, connect_seconds=0.2))
        self.app.jinja_env.bytecode_cache = TEMPLATES

    def _write(self, name: str, text: str) -> None:
        path = self.paths.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def report(
        self,
        data: DataCondition,
        detail: str = "",
        *,
        disk: Path = Path("/dev/null"),
        rescue: bool = False,
    ) -> None:
        """What the initramfs would have found."""
        report = BootReport(slot="A", disk=disk, data=data, data_detail=detail, rescue=rescue)
        self.paths.boot_report.write_text(render_boot_report(report))

    def start(self) -> None:
        self.agent = Agent(self.paths, host=self.host)
        self.agent.names = lambda: NAMES
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self.agent.serve_forever, kwargs={"ready": ready.set}, daemon=True
        )
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        if self.agent is not None and self._thread is not None:
            self.agent.shutdown()
            self._thread.join(10)
            self.agent = None

    def network_is(self, router_wan: str) -> None:
        """What hearth-network-check.service would leave behind such a router."""
        seen = "203.0.113.7"
        echoes = tuple(
            Echo(service=f"https://ip.example.{top}/", address=seen) for top in ("com", "net")
        )
        facts = Facts(
            lan="192.168.1.7",
            gateway="192.168.1.1",
            protocol="UPnP" if router_wan else "",
            router_wan=router_wan,
            refusal=None if router_wan else Refusal.SILENT,
            echoes=echoes,
        )
        finding = classify(facts)
        wan = find_wan(facts, finding.verdict)
        result = AddressResult(finding=finding, wan=wan, asked=0.0, router_wan=router_wan)
        save_result(self.paths, ADDRESS, result)

    def account_is(self, judgement: Judgement, kind: str, headline: str, *evidence: str) -> None:
        """What hearth-ddns-check.service would leave about the answers as they are now."""
        assert self.agent is not None
        outcome = Outcome(kind=Kind(kind))
        found = AddressCheck(
            answers=self.agent.setup.drafts.load().address_number,
            judgement=judgement,
            kind=kind,
            headline=headline,
            evidence=evidence,
            next_step=outcome.hint,
        )
        save_result(self.paths, ADDRESS_CHECK, found)

    def tunnel_is(self, cause: Cause | None, *evidence: str) -> None:
        """What hearth-tunnel-check.service would leave; without a cause the server has answered."""
        assert self.agent is not None
        draft = self.agent.setup.drafts.load()
        assert draft.tunnel is not None
        if cause is None:
            look = Look(peer="", endpoint="198.51.100.7:51820", handshake=1, received=92, sent=148)
            found = judge(draft, look, 0.3)
        else:
            found = judge_silence(draft, Diagnosis(cause=cause, evidence=evidence))
        save_result(self.paths, TUNNEL_CHECK, found)

    def provisioned(self, phase: Phase, *steps: StepStatus) -> None:
        """What the provisioning unit would have written by now."""
        save_state(State(phase=phase, steps=steps), self.paths.state)
        if self.agent is not None:
            self.agent.settle()


@contextmanager
def running_appliance(
    *, data: DataCondition = DataCondition.OK, detail: str = ""
) -> Iterator[Appliance]:
    # Not tmp_path: the path of a Unix socket has at most 107 bytes (unix(7)).
    root = Path(tempfile.mkdtemp(prefix="hearth-"))
    appliance = Appliance(root)
    appliance.report(data, detail)
    appliance.start()
    try:
        yield appliance
    finally:
        appliance.stop()
        shutil.rmtree(root)


def step(
    name: str, state: StepState, *, detail: str = "", error: str = "", hint: str = ""
) -> StepStatus:
    started = 0.0 if state is StepState.PENDING else time.time() - 12
    ended = started + 8 if state in (StepState.DONE, StepState.FAILED) else 0.0
    return StepStatus(
        name=name,
        title=name.capitalize(),
        state=state,
        started=started,
        ended=ended,
        detail=detail,
        error=error,
        hint=hint,
    )
