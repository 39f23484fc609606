"""``hearthctl network check``: whether the world can reach this device, within ten seconds."""

from __future__ import annotations

import json
import sys
import time

from appliance.paths import Paths
from appliance.tables import to_table
from services.address import Facts, Finding, Reachability, classify, find_wan
from services.measure import measure
from services.reach import AddressResult
from services.results import save_result
from services.wan import RESULT as ADDRESS


def check_network(paths: Paths, *, as_json: bool, save: bool) -> int:
    """Measure and print the verdict; exit code 0 when the world can reach us.

    With ``save`` it becomes the result that pages and other jobs read; then the exit code says
    whether there is one.
    """
    begin = time.monotonic()
    result = judge(measure(), now=time.time())
    seconds = round(time.monotonic() - begin, 1)
    if save:
        save_result(paths, ADDRESS, result)
    if as_json:
        sys.stdout.write(json.dumps({**to_table(result), "seconds": seconds}, indent=1) + "\n")
    else:
        sys.stdout.write(describe(result.finding))
    return 0 if save or result.finding.verdict is Reachability.OPEN else 1


def judge(facts: Facts, *, now: float) -> AddressResult:
    finding = classify(facts)
    return AddressResult(
        finding=finding,
        wan=find_wan(facts, finding.verdict),
        asked=now,
        router_wan=facts.router_wan,
        echoes=facts.echoes,
        echoes6=facts.echoes6,
    )


def describe(finding: Finding) -> str:
    lines = [f"{finding.verdict.value}: {finding.sentence}"]
    lines += [f"  - {line}" for line in finding.evidence]
    lines.append(f"  -> {finding.next_step}")
    return "".join(f"{line}\n" for line in lines)
