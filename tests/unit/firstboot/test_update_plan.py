"""The update job's decisions, on a clock of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.update import Stage, UpdateState
from firstboot.update_plan import (
    DAY,
    HOUR,
    Act,
    Facts,
    Memory,
    Offered,
    goes_on,
    is_check_due,
    note_failure,
    note_success,
    pause_after,
    plan,
    second_of_day,
    with_clock,
)

NOW = 1_000_000_000.0
ID = "0123456789abcdef0123456789abcdef"
NOTHING = Memory()
INSTALLED = UpdateState(stage=Stage.INSTALLED, version="1.1", slot="B", source="https://x/1.1")
FACTS = Facts(update=UpdateState(), machine_id=ID, offered=Offered(tried_at=NOW))
OFFER = Offered(version="1.1", tried_at=NOW)


def act(facts: Facts, memory: Memory = NOTHING, now: float = NOW) -> Act:
    return plan(memory, facts, now).act


def with_stage(stage: Stage, **more: object) -> Facts:
    return replace(FACTS, update=replace(INSTALLED, stage=stage), **more)  # type: ignore[arg-type]


def test_nothing_new_is_nothing_to_do() -> None:
    assert act(FACTS) is Act.REST


def test_what_is_offered_is_installed_at_once_and_started_in_its_hour() -> None:
    assert act(replace(FACTS, offered=OFFER)) is Act.INSTALL
    waiting = with_stage(Stage.INSTALLED, offered=OFFER)
    assert act(waiting) is Act.REST
    assert act(replace(waiting, in_window=True)) is Act.RESTART


def test_who_wants_to_be_asked_is_only_told() -> None:
    manual = replace(FACTS, automatic=False, offered=OFFER)
    assert act(manual) is Act.REST
    assert act(replace(manual, update=INSTALLED, in_window=True)) is Act.REST
    chosen = replace(manual, update=replace(INSTALLED, by_hand=True), in_window=True)
    assert act(chosen) is Act.RESTART
    assert act(replace(manual, offered=replace(OFFER, tried_at=NOW - 2 * DAY))) is Act.CHECK


def test_before_setup_in_a_trial_and_without_a_way_back_nothing_happens() -> None:
    for facts in (
        replace(FACTS, is_set_up=False, offered=OFFER),
        with_stage(Stage.TRIAL, offered=OFFER, in_window=True),
        replace(FACTS, is_committed=False, offered=OFFER),
    ):
        assert act(facts, now=NOW + 3 * DAY) is Act.REST


def test_a_restart_that_did_not_come_is_asked_for_again_at_any_hour() -> None:
    assert act(with_stage(Stage.TRIAL, restart_due=True)) is Act.RESTART
    assert act(with_stage(Stage.TRIAL, trial_on_record_only=True)) is Act.UNDO


def test_what_was_interrupted_goes_on_even_where_the_owner_decides() -> None:
    assert act(with_stage(Stage.INSTALLING, automatic=False)) is Act.INSTALL
    memory = note_failure(Memory(), "1.1", NOW, hopeless=False)
    assert act(with_stage(Stage.INSTALLING), memory) is Act.REST
    assert act(with_stage(Stage.INSTALLING), memory, NOW + HOUR) is Act.INSTALL


def test_what_the_owner_asked_for_is_tried_again() -> None:
    failed = UpdateState(version="1.1", source="https://x", by_hand=True, error="no route")
    facts = replace(FACTS, update=failed, automatic=False, has_channel=False)
    memory = note_failure(Memory(), "1.1", NOW, hopeless=False)
    assert act(facts, memory) is Act.REST
    assert act(facts, memory, memory.not_before) is Act.INSTALL
    hopeless = note_failure(Memory(), "1.1", NOW, hopeless=True)
    assert act(facts, hopeless, NOW + 10 * DAY) is Act.REST
    assert act(replace(facts, update=replace(failed, by_hand=False)), memory, NOW + DAY) is Act.REST


def test_a_pause_stops_everything_but_a_trial_that_has_begun() -> None:
    memory = Memory(paused_until=NOW + 1)
    for facts in (
        replace(FACTS, offered=replace(OFFER, tried_at=0.0)),
        with_stage(Stage.INSTALLED, in_window=True),
        with_stage(Stage.INSTALLING),
    ):
        assert act(facts, memory) is Act.REST
        assert act(facts, memory, NOW + 1) is not Act.REST
    assert act(with_stage(Stage.TRIAL, restart_due=True), memory) is Act.RESTART


def test_failures_are_further_and_further_apart_up_to_a_day() -> None:
    memory, now, waits = Memory(), NOW, []
    for _ in range(9):
        memory = note_failure(memory, "1.1", now, hopeless=False)
        waits.append(memory.not_before - now)
        now = memory.not_before
    assert waits[:4] == [HOUR / 2, HOUR, 2 * HOUR, 4 * HOUR]
    assert waits[-1] == DAY
    assert pause_after(10**6) == DAY
    assert note_failure(memory, "1.2", now, hopeless=False).failures == 1
    assert note_success(memory).failures == 0


def test_a_failed_version_holds_up_no_newer_one() -> None:
    memory = note_failure(Memory(), "1.1", NOW, hopeless=True)
    assert act(replace(FACTS, offered=OFFER), memory) is Act.REST
    assert act(replace(FACTS, offered=replace(OFFER, version="1.2")), memory) is Act.INSTALL


def test_a_newer_one_takes_the_place_of_what_waits() -> None:
    newer = Offered(version="1.2", tried_at=NOW)
    assert act(with_stage(Stage.INSTALLED, offered=newer, in_window=True)) is Act.INSTALL
    memory = note_failure(Memory(), "1.2", NOW, hopeless=False)
    assert act(with_stage(Stage.INSTALLED, offered=newer, in_window=True), memory) is Act.RESTART
    by_hand = replace(INSTALLED, by_hand=True)
    facts = replace(FACTS, update=by_hand, offered=newer, in_window=True)
    assert act(facts) is Act.RESTART


def test_a_newer_offer_wins_over_what_the_owner_chose_and_cannot_have() -> None:
    newer = Offered(version="1.10", tried_at=NOW)
    held = replace(newer, held="1.9 is held back by its publisher")
    chosen = replace(INSTALLED, version="1.9", by_hand=True)
    facts = replace(FACTS, update=chosen, offered=held, in_window=True)
    assert act(facts) is Act.INSTALL
    assert act(replace(facts, automatic=False)) is Act.REST
    failed = replace(facts, update=replace(chosen, stage=Stage.IDLE, error="404"), offered=newer)
    for hopeless in (True, False):
        memory = note_failure(Memory(), "1.9", NOW, hopeless=hopeless)
        assert act(failed, memory) is Act.INSTALL
        assert not goes_on(memory, failed)
        assert goes_on(memory, replace(failed, automatic=False))


def test_what_the_owner_chose_is_given_up_for_an_older_offer_only_at_last() -> None:
    failed = UpdateState(version="1.9", source="https://x", by_hand=True, error="404")
    facts = replace(FACTS, update=failed, offered=OFFER)
    memory = Memory()
    for _ in range(4):
        memory = note_failure(memory, "1.9", NOW, hopeless=False)
        assert goes_on(memory, facts)
    assert not goes_on(note_failure(memory, "1.9", NOW, hopeless=False), facts)
    assert not goes_on(note_failure(Memory(), "1.9", NOW, hopeless=True), facts)


def test_what_the_owner_cancelled_does_not_come_again_by_itself() -> None:
    memory = Memory(cancelled="1.1")
    found = plan(memory, replace(FACTS, offered=OFFER), NOW)
    assert (found.act, "cancelled" in found.why) == (Act.REST, True)
    assert act(replace(FACTS, offered=replace(OFFER, version="1.2")), memory) is Act.INSTALL
    by_hand = with_stage(Stage.INSTALLED, offered=OFFER, in_window=True)
    assert act(by_hand, memory) is Act.RESTART
    assert act(with_stage(Stage.INSTALLING, offered=OFFER), memory) is Act.INSTALL
    failed = replace(FACTS, offered=OFFER,
                     update=UpdateState(version="1.1", by_hand=True, error="no route"))  # fmt: skip
    assert act(failed, memory) is Act.INSTALL
    waits = with_stage(Stage.INSTALLED, offered=replace(OFFER, version="1.2"), in_window=True)
    assert act(waits, Memory(cancelled="1.2")) is Act.RESTART


def test_what_its_publisher_holds_back_is_not_started() -> None:
    held = Offered(tried_at=NOW, held="1.1 was withdrawn")
    found = plan(Memory(), with_stage(Stage.INSTALLED, offered=held, in_window=True), NOW)
    assert found.act is Act.REST
    assert "withdrawn" in found.why


def test_before_a_restart_the_channel_is_asked_once_more() -> None:
    facts = with_stage(Stage.INSTALLED, in_window=True, from_channel=True,
                       offered=replace(OFFER, tried_at=NOW - 2 * HOUR))  # fmt: skip
    assert act(facts) is Act.CHECK
    assert act(replace(facts, offered=OFFER)) is Act.RESTART  # also when that came to nothing
    assert act(replace(facts, from_channel=False)) is Act.RESTART
    assert act(replace(facts, in_window=False)) is Act.REST


def test_one_check_a_day_at_each_machines_own_second() -> None:
    """Hour by hour for a month: as many checks as days, each in the hour of its second."""
    tried, checks = NOW - DAY, []
    for hour in range(30 * 24):
        now = NOW + hour * HOUR
        if is_check_due(tried, 0, ID, now):
            tried = now
            checks.append(now)
    assert len(checks) in (30, 31)
    assert all((now - second_of_day(ID)) % DAY < HOUR for now in checks[1:])


def test_machines_are_spread_over_the_day() -> None:
    seconds = [second_of_day(f"{number:032x}") for number in range(24_000)]
    by_hour = [sum(1 for one in seconds if one // HOUR == hour) for hour in range(24)]
    assert min(by_hour) > 850
    assert max(by_hour) < 1150


def test_a_failed_check_is_repeated_sooner_and_then_less_often() -> None:
    assert not is_check_due(NOW, 1, ID, NOW + HOUR / 2 - 1)
    assert is_check_due(NOW, 1, ID, NOW + HOUR / 2)
    assert not is_check_due(NOW, 3, ID, NOW + HOUR)


def test_a_clock_that_was_set_back_stops_nothing() -> None:
    assert is_check_due(NOW + 40 * DAY, 0, ID, NOW)
    memory = replace(note_failure(Memory(), "1.1", NOW, hopeless=False), not_before=NOW + 400 * DAY)
    facts = replace(FACTS, offered=OFFER)
    assert act(facts, memory) is Act.REST
    assert act(facts, replace(memory, not_before=NOW - 1)) is Act.INSTALL


def test_a_pause_is_no_longer_than_it_was_meant() -> None:
    """It was asked for while the clock was twelve years ahead."""
    ahead = NOW + 12 * 365 * DAY
    memory = Memory(paused_until=ahead + 30 * DAY, paused_seconds=30 * DAY)
    assert with_clock(memory, NOW).paused_until == NOW + 30 * DAY
    assert with_clock(memory, ahead + DAY) == memory


@pytest.mark.parametrize("has_channel", [True, False])
def test_without_a_channel_nobody_is_asked(has_channel: bool) -> None:
    facts = replace(FACTS, has_channel=has_channel, offered=Offered())
    assert act(facts) is (Act.CHECK if has_channel else Act.REST)
