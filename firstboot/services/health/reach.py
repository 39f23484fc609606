"""Whether the world can reach us, as the last run of hearth-portmap found."""

from __future__ import annotations

from dataclasses import dataclass

from services.address import Reachability
from services.health.result import CheckResult, Examination, failed, passed, warned
from services.reach import AddressResult
from services.results import load_result
from services.tunnel.place import find_tunnel
from services.wan import RESULT as ADDRESS


@dataclass(frozen=True)
class ReachCheck:
    name: str = "reach"
    title: str = "Reach from the Internet"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        if examination.server.public is None:
            return passed("for the home network only, as chosen")
        if find_tunnel(examination.server) is not None:
            return passed("through a rented server, whatever this connection allows: see Tunnel")
        result = load_result(examination.paths, ADDRESS, AddressResult)
        if result is None:
            hint = "wait a minute, or run: systemctl start hearth-portmap"
            return warned("nothing was measured yet", hint)
        finding = result.finding
        evidence = "\n".join((f"{finding.verdict.value}: {finding.sentence}", *finding.evidence))
        if finding.verdict is Reachability.OPEN:
            return passed(evidence)
        judge = failed if finding.verdict is Reachability.OFFLINE else warned
        return judge(evidence, finding.next_step)
