"""The name at a DDNS provider: the account, as the provider sees it, and what the world sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import NetworkError
from appliance.secretfile import load_both
from services.ddns.outcome import Kind, Outcome
from services.ddns.result import RESULT, DdnsResult, account_mark, make_client
from services.ddns.verify import Authorities, ServerAnswer, ask_addresses, find_authorities
from services.health.result import CheckResult, Examination, failed, passed, warned
from services.results import load_result


@dataclass(frozen=True)
class DdnsCheck:
    name: str = "ddns"
    title: str = "DDNS"
    needs_setup: bool = True
    authorities: Callable[[str], Authorities] = find_authorities

    def run(self, examination: Examination) -> CheckResult:
        settings, secrets = load_both(examination.paths)
        public = settings.public if settings else None
        if public is None or public.ddns is None:
            return passed("no name at a DDNS provider is set")
        result = load_result(examination.paths, RESULT, DdnsResult) or DdnsResult()
        if result.contract.account != account_mark(public.ddns, secrets):
            result = DdnsResult()
        client = make_client(public.ddns, secrets)
        # A refused account is not tried again and again, not even by a check.
        stop = result.contract.stop
        account = (
            Outcome(kind=stop, said=result.contract.stop_said)
            if stop is not None
            else client.check_account()
        )
        servers = self._ask(public.ddns.name)
        lines = [
            f"{public.ddns.name} at {client.provider.title}",
            f"account: {_account_line(account)}",
            f"last answer: {result.kind.value} {result.said}" if result.kind else "",
            *(f"{one.server}: {', '.join(one.records) or one.error or 'none'}" for one in servers),
        ]
        evidence = "\n".join(line.strip() for line in lines if line)
        return _judge(evidence, account, result, servers)

    def _ask(self, name: str) -> tuple[ServerAnswer, ...]:
        try:
            return ask_addresses(name, self.authorities(name))
        except NetworkError as error:
            return (ServerAnswer(server="name servers", error=error.message),)


def _judge(
    evidence: str, account: Outcome, result: DdnsResult, servers: tuple[ServerAnswer, ...]
) -> CheckResult:
    if account.kind is not Kind.UNTOLD and not account.is_done:
        return failed(evidence, account.hint)
    if not result.contract.acknowledged.known:
        return warned(
            f"{evidence}\nno address has been published yet", result.hint or "hearthctl doctor ddns"
        )
    if result.problem:
        return failed(f"{evidence}\n{result.problem}", result.hint)
    wanted = set(result.contract.acknowledged.known)
    wrong = [one.server for one in servers if not one.error and not wanted <= set(one.records)]
    if wrong or all(one.error for one in servers):
        late = f"{evidence}\nwanted: {', '.join(sorted(wanted))}"
        return warned(late, "name servers take some minutes; look again, then ask the provider")
    return passed(evidence)


def _account_line(account: Outcome) -> str:
    return account.said if account.is_done and account.said else account.problem
