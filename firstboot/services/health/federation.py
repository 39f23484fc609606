"""Whether other servers can talk to ours, as the last run of hearth-federation found."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.answers import Judgement
from appliance.settings import Way
from services.federation.result import RESULT, FederationResult
from services.health.result import CheckResult, Examination, failed, passed, warned
from services.results import load_result


@dataclass(frozen=True)
class FederationCheck:
    name: str = "federation"
    title: str = "Other servers"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        public = examination.server.public
        if public is None or public.way is Way.HOME:
            return passed("for the home network only, as chosen: no other server is to reach it")
        result = load_result(examination.paths, RESULT, FederationResult)
        if result is None:
            hint = "wait some minutes, or run: hearthctl federation check --save"
            return warned("nothing was looked at yet", hint)
        lines = [f"{result.cause.value}: {result.sentence}"]
        lines += [f"{part.title}: {part.detail}" for part in result.parts]
        evidence = "\n".join(lines)
        if result.judgement is Judgement.GOOD:
            return passed(evidence)
        judge = failed if result.judgement is Judgement.BAD else warned
        return judge(evidence, result.next_step)
