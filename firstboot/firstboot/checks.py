"""The measurements that pages wait for: started by the owner, done by units of their own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from appliance.answers import CheckState, Judgement, Measured
from appliance.deadline import Clock
from appliance.paths import Paths
from firstboot.host import Host
from firstboot.watch import ResultWatch
from services.results import load_result
from services.wan import RESULT as NETWORK

if TYPE_CHECKING:
    from services.address import Finding

ADDRESS, TUNNEL = "address-check", "tunnel-check"
# Its unit's own limit (hearth-tunnel-check.service): it looks for the cause where nothing answers.
TUNNEL_SECONDS = 180.0
LOST = Measured(
    state=CheckState.LOST,
    judgement=Judgement.BAD,
    headline="The check did not come to its end.",
    next_step="check again; if it stays so, go on: all of this is looked at again after setup",
)


class Checks:
    """What they need to load is loaded with the first result: the agent stays small until then."""

    def __init__(self, paths: Paths, host: Host, *, clock: Clock = time) -> None:
        self._paths = paths
        self._host = host
        self._network = ResultWatch(paths.results / f"{NETWORK}.json", clock=clock)
        self._address = ResultWatch(paths.results / f"{ADDRESS}.json", clock=clock)
        tunnel = paths.results / f"{TUNNEL}.json"
        self._tunnel = ResultWatch(tunnel, clock=clock, seconds=TUNNEL_SECONDS)

    def start_network(self) -> None:
        """Nothing happens while one is running; the same holds for the other."""
        if self._network.state() is not CheckState.RUNNING:
            self._network.begin()
            self._host.start_network_check()

    def start_address(self) -> None:
        if self._address.state() is not CheckState.RUNNING:
            self._address.begin()
            self._host.start_address_check()

    def start_tunnel(self) -> None:
        if self._tunnel.state() is not CheckState.RUNNING:
            self._tunnel.begin()
            self._host.start_tunnel_check()

    def network(self) -> Measured:
        state = self._network.state()
        if state is not CheckState.DONE:
            return _without_result(state)
        from services.reach import AddressResult

        found = load_result(self._paths, NETWORK, AddressResult)
        return LOST if found is None else measured(found.finding)

    def address(self, answers: int) -> Measured:
        """For the answers of that number; what earlier ones led to is of no interest any more."""
        state = self._address.state()
        if state is not CheckState.DONE:
            return _without_result(state)
        return self._tried(ADDRESS, answers)

    def tunnel(self, answers: int) -> Measured:
        """The same, for the rented server."""
        state = self._tunnel.state()
        return self._tried(TUNNEL, answers) if state is CheckState.DONE else _without_result(state)

    def _tried(self, name: str, answers: int) -> Measured:
        from firstboot.address_check import AddressCheck

        found = load_result(self._paths, name, AddressCheck)
        if found is None or found.answers != answers:
            return Measured()
        return Measured(
            state=CheckState.DONE,
            judgement=found.judgement,
            kind=found.kind,
            headline=found.headline,
            evidence=found.evidence,
            next_step=found.next_step,
        )


def measured(finding: Finding) -> Measured:
    return Measured(
        state=CheckState.DONE,
        judgement=judge(finding),
        kind=finding.verdict.value,
        headline=finding.sentence,
        evidence=finding.evidence,
        next_step=finding.next_step,
    )


def judge(finding: Finding) -> Judgement:
    """What an owner can mend or live with is neither good nor bad."""
    from services.address import Reachability

    if finding.verdict is Reachability.OPEN:
        return Judgement.GOOD
    hopeless = (Reachability.OFFLINE, Reachability.CGNAT)
    return Judgement.BAD if finding.verdict in hopeless else Judgement.UNSURE


def _without_result(state: CheckState) -> Measured:
    return LOST if state is CheckState.LOST else Measured(state=state)
