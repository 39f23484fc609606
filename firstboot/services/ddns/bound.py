"""Questions to a provider other than updates (dns-01), bound by the same contract as those.

A refused token is not tried again by whoever wants a certificate, and a provider that asked for
half an hour of silence gets it from all of us.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.deadline import WallClock
from appliance.paths import Paths
from appliance.settings import Ddns, Secrets
from services.ddns import contract
from services.ddns.client import Client
from services.ddns.outcome import Kind, Outcome
from services.ddns.provider import Provider
from services.ddns.result import RESULT, DdnsResult, account_mark, by_this_clock, hold_lock
from services.moment import read_boot_id, read_moment
from services.results import load_result, save_result


@dataclass(frozen=True, kw_only=True)
class BoundClient:
    """Fits services.ddns.challenge.TxtClient."""

    paths: Paths
    client: Client
    mark: str
    clock: WallClock
    boot_id: Callable[[], str] = read_boot_id

    @property
    def provider(self) -> Provider:
        return self.client.provider

    def set_txt(self, name: str, value: str) -> Outcome:
        return self._ask(lambda: self.client.set_txt(name, value))

    def clear_txt(self, name: str, value: str) -> Outcome:
        return self._ask(lambda: self.client.clear_txt(name, value))

    def _ask(self, act: Callable[[], Outcome]) -> Outcome:
        with hold_lock(self.paths):
            moment = read_moment(self.clock, self.boot_id)
            result = load_result(self.paths, RESULT, DdnsResult) or DdnsResult()
            result = by_this_clock(result, moment)
            if result.contract.account != self.mark:
                result = DdnsResult(contract=result.contract)
            now = moment.date
            state = contract.remember(result.contract, now, self.mark)
            if state.stop is not None:
                return Outcome(kind=state.stop, said=state.stop_said)
            if now < state.not_before:
                return Outcome(kind=Kind.LIMITED, retry_after=state.not_before - now)
            outcome = act()
            if not outcome.is_done:
                state = contract.refused_aside(state, self.clock.time(), outcome, self.provider)
                save_result(self.paths, RESULT, replace(result, contract=state, noted=moment))
            return outcome


def bind(
    paths: Paths, client: Client, ddns: Ddns, secrets: Secrets, clock: WallClock
) -> BoundClient:
    return BoundClient(paths=paths, client=client, mark=account_mark(ddns, secrets), clock=clock)
