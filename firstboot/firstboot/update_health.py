"""Whether this version can update itself again: measured before a trial, and by the verdict.

A release with a broken updater would be the last one that an appliance ever gets, however well all
the rest of it is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from appliance.paths import Paths
from appliance.update import Baseline
from services import slots
from services.health.result import CheckResult, Examination, passed
from services.health.verdict import OURS, Look, make_look, measure_baseline
from services.update.rauc import Rauc


@dataclass(frozen=True)
class UpdateCheck:
    """RAUC's service starts by being asked, and makes the keyring before that. What the job would
    do next is only worked out: loading all of its code is part of the proof.
    """

    name: str = "update"
    title: str = "The next update"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        from firstboot.update import find_facts, load_memory
        from firstboot.update_plan import plan

        paths, now = examination.paths, time.time()
        Rauc().slot(slots.other_slot(slots.booted_slot(paths)))
        memory = load_memory(paths)
        step = plan(memory, find_facts(paths, memory, now), now)
        return passed(f"RAUC answers. {step.why}")


def look_at_all(paths: Paths) -> Look:
    return replace(make_look(paths), ours=(*OURS, UpdateCheck()))


def measure_before(paths: Paths) -> Baseline:
    """What is so before the restart into another version."""
    return measure_baseline(paths, look=look_at_all(paths))
