"""The policy of the verdict, on a clock that stands still until it is turned."""

from __future__ import annotations

import pytest

from appliance.update import Baseline
from services.health.trial import (
    MINUTE,
    MOST_PAUSE,
    ROUND_SECONDS,
    Act,
    Bearing,
    Probe,
    Trial,
    baseline_of,
    begin,
    failing,
    pause,
    plan,
    tell,
)

GOOD = Probe(title="Homeserver", passed=True)
BAD = Probe(title="Homeserver", passed=False, evidence="is running but does not answer\nlog")
NO_ROUTER = Probe(title="Router", passed=False, evidence="gone", bearing=Bearing.OUTSIDE)


def run(trial: Trial, *looks: bool, start: float = 0.0) -> tuple[Trial, Act, float]:
    """One look after the other, a round apart, until something is decided."""
    now, act = start, Act.WAIT
    for is_well in looks:
        trial, act = plan(trial, {} if is_well else {"homeserver": BAD}, now)
        if act is not Act.WAIT:
            return trial, act, now
        now += ROUND_SECONDS
    return trial, act, now


@pytest.mark.parametrize(
    ("before", "probe", "counts"),
    [
        (None, BAD, True),
        (True, BAD, True),
        (False, BAD, False),
        (None, NO_ROUTER, False),
        (True, NO_ROUTER, True),
        (False, NO_ROUTER, False),
    ],
)
def test_what_counts_against_a_version(before: bool | None, probe: Probe, counts: bool) -> None:
    baseline = Baseline(passed={} if before is None else {"it": before})
    assert bool(failing({"it": probe}, baseline)) is counts


def test_a_unit_that_had_failed_before_is_no_fault_and_another_is() -> None:
    failed = Probe(title="unit", passed=False)
    baseline = baseline_of({"unit a.service": failed, "systemd": GOOD}, 5.0)
    assert baseline.measured_at == 5.0
    found = failing({"unit a.service": failed, "unit b.service": failed}, baseline)
    assert list(found) == ["unit b.service"]


def test_well_for_a_minute_is_committed() -> None:
    _, act, at = run(begin(0.0, 15), *[True] * 100)
    assert (act, at) == (Act.COMMIT, 60.0)


def test_what_stumbles_begins_its_minute_anew() -> None:
    looks = [True] * 5 + [False] + [True] * 100
    _, act, at = run(begin(0.0, 15), *looks)
    assert (act, at) == (Act.COMMIT, 60.0 + 60.0)


def test_never_well_goes_back_at_the_limit() -> None:
    _, act, at = run(begin(0.0, 15), *[False] * 200)
    assert (act, at) == (Act.GO_BACK, 15 * MINUTE)


def test_what_is_well_just_before_the_limit_may_prove_it() -> None:
    looks = [False] * 89 + [True] * 100  # well from 890 s on, the limit is 900
    _, act, at = run(begin(0.0, 15), *looks)
    assert (act, at) == (Act.COMMIT, 890.0 + 60.0)


def test_what_flaps_does_not_stay_for_ever() -> None:
    _, act, at = run(begin(0.0, 15), *[True, True, True, False] * 100)
    assert act is Act.GO_BACK
    assert at < 15 * MINUTE + 60


def test_a_short_limit_asks_for_less_steadiness() -> None:
    _, act, at = run(begin(0.0, 2), *[True] * 10)
    assert (act, at) == (Act.COMMIT, 30.0)


@pytest.mark.parametrize(("minutes", "limit"), [(-5, 1), (0, 1), (15, 15), (100_000, 120)])
def test_the_owners_limit_is_kept_within_reason(minutes: int, limit: int) -> None:
    assert begin(0.0, minutes).limit == limit * MINUTE


def test_time_for_the_database_does_not_count_but_not_for_ever() -> None:
    trial, now, act = begin(0.0, 15), 0.0, Act.WAIT
    while act is Act.WAIT:
        now += ROUND_SECONDS
        trial = pause(trial, now, is_preparing=now <= 3600)
        trial, act = plan(trial, {"homeserver": BAD}, now)
    assert (act, now) == (Act.GO_BACK, 3600 + 15 * MINUTE)
    trial, now, act = begin(0.0, 15), 0.0, Act.WAIT
    while act is Act.WAIT:
        now += ROUND_SECONDS
        trial = pause(trial, now, is_preparing=True)
        trial, act = plan(trial, {"homeserver": BAD}, now)
    assert now == MOST_PAUSE + 15 * MINUTE


def test_the_reason_is_a_sentence_with_what_was_seen() -> None:
    faults = {str(number): BAD for number in range(5)}
    reason = tell(faults, begin(0.0, 15))
    assert reason.startswith("not well after 15 minutes: Homeserver: is running but does not")
    assert reason.endswith("(and 2 more)")
    assert "\n" not in reason
    assert tell({"it": BAD}, begin(0.0, 1)).startswith("not well after 1 minute: ")
