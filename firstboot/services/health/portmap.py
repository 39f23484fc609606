"""Whether the router forwards our ports, as the last run of hearth-portmap left them."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.settings import Way
from services.health.result import CheckResult, Examination, passed, warned
from services.portmap.causes import EXPLANATIONS
from services.portmap.contract import Held, State
from services.reach import PORTMAP, PortmapResult, find_obstacle
from services.results import load_result
from services.tunnel.place import find_tunnel


@dataclass(frozen=True)
class PortmapCheck:
    name: str = "portmap"
    title: str = "Ports of the router"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        public = examination.server.public
        if public is None or public.way is Way.HOME:
            return passed("none is wanted: for the home network only, as chosen")
        if find_tunnel(examination.server) is not None:
            return passed("none is wanted: the world comes in through a rented server")
        result = load_result(examination.paths, PORTMAP, PortmapResult)
        if result is None:
            hint = "wait a minute, or run: systemctl start hearth-portmap"
            return warned("the router was not asked yet", hint)
        ports = result.pinholes if public.way is Way.IPV6 else result.ports
        evidence = "\n".join(_lines(ports))
        obstacle = find_obstacle(ports, public.port)
        if obstacle is not None:
            return warned(evidence or obstacle.sentence, obstacle.next_step)
        if ports.problems:
            return warned(evidence, EXPLANATIONS[ports.problems[0].cause].next_step)
        return passed(evidence)


def _lines(ports: State) -> list[str]:
    lines = [_line(one) for one in sorted(ports.held, key=lambda held: held.port)]
    if lines:
        lines.insert(0, f"by {ports.protocol or ports.spoke or 'nobody now'}")
    for problem in ports.problems:
        said = f" ({problem.said})" if problem.said else ""
        sentence = EXPLANATIONS[problem.cause].sentence
        lines.append(f"port {problem.port.external}: {sentence}{said}")
    return lines


def _line(held: Held) -> str:
    lease = f"for {held.lease} s at a time" if held.lease else "without an end"
    return f"port {held.port.external} leads to our {held.port.internal}, {lease}"
