"""When others are told that we are back, on a fake clock, and that it is seldom."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from firstboot.wakeup import MAX_SECONDS, World, call_all, describe
from firstboot.wakeup_plan import (
    DAY,
    HOUR,
    PAUSE,
    ROUNDS_A_DAY,
    Act,
    Facts,
    WakeupResult,
    plan,
    remember,
    with_clock,
)
from services.federation.fetch import Web
from services.federation.wake import Call, Outcome

NOW = 1_700_000_000.0
FACTS = Facts(boot="boot-1", addresses=("203.0.113.7",))
TOLD = remember(WakeupResult(), FACTS, NOW)


def act(memory: WakeupResult, facts: Facts = FACTS, now: float = NOW, **rest: bool) -> Act:
    return plan(memory, facts, now, **rest).act


def test_after_a_start_and_then_not_again() -> None:
    assert act(WakeupResult()) is Act.CALL
    assert act(TOLD) is Act.REST
    assert act(TOLD, now=NOW + 30 * DAY) is Act.REST


@pytest.mark.parametrize(
    "facts", [replace(FACTS, boot="boot-2"), replace(FACTS, addresses=("203.0.113.8",))]
)
def test_after_another_start_or_with_a_new_address_but_not_within_the_hour(facts: Facts) -> None:
    step = plan(TOLD, facts, NOW + PAUSE - 1)
    assert (step.act, step.until) == (Act.WAIT, NOW + PAUSE)
    assert act(TOLD, facts, NOW + PAUSE) is Act.CALL


def test_an_address_that_is_gone_is_no_new_one() -> None:
    assert act(TOLD, replace(FACTS, addresses=()), NOW + DAY) is Act.REST


def test_reboots_in_a_row_call_four_times_a_day_at_most() -> None:
    memory, rounds = WakeupResult(), []
    for number in range(3 * 24 * 12):  # every five minutes, each time freshly booted
        now = NOW + number * 300
        facts = replace(FACTS, boot=f"boot-{number}")
        if act(memory, facts, now) is Act.CALL:
            rounds.append(now)
            memory = remember(memory, facts, now)
    assert len(rounds) == 3 * ROUNDS_A_DAY
    for begin in rounds:
        within = [one for one in rounds if begin <= one < begin + DAY]
        assert len(within) <= ROUNDS_A_DAY
    assert rounds[1] - rounds[0] == HOUR


def test_an_outage_with_the_same_address_is_a_return_too() -> None:
    offline = replace(FACTS, is_offline=True)
    assert act(TOLD, offline, NOW + HOUR) is Act.NOTE
    noted = replace(TOLD, was_offline=True)
    assert act(noted, offline, NOW + HOUR) is Act.WAIT
    assert act(noted, FACTS, NOW + 2 * HOUR) is Act.CALL
    assert act(remember(noted, FACTS, NOW + 2 * HOUR), FACTS, NOW + 9 * HOUR) is Act.REST


def test_whoever_is_woken_must_find_us() -> None:
    unready = replace(FACTS, missing="the name does not lead here yet")
    step = plan(WakeupResult(), unready, NOW)
    assert step.act is Act.WAIT
    assert "the name does not lead here yet" in step.why


def test_by_hand_it_is_always_time() -> None:
    assert act(TOLD, replace(FACTS, missing="x", is_offline=True), NOW, wanted=True) is Act.CALL


def test_a_clock_that_was_set_back() -> None:
    ahead = remember(WakeupResult(), FACTS, NOW + 30 * DAY)
    facts = replace(FACTS, boot="boot-2")
    assert act(with_clock(ahead, NOW), facts, NOW + PAUSE - 1) is Act.WAIT
    healed = with_clock(ahead, NOW)
    assert act(healed, facts, NOW + PAUSE) is Act.CALL


class Clock:
    """Stands still but for those who sleep; ``slept`` are their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds
        self.slept.append(seconds)


def calls(number: int) -> list[Call]:
    return [Call(server=f"203.0.113.{n % 250}:{8000 + n}", target="/x", authorization="s")
            for n in range(number)]  # fmt: skip


def world(clock: Clock, dialled: list[str]) -> World:
    lock = threading.Lock()

    def refuse(address: str, port: int, seconds: float) -> None:
        with lock:
            dialled.append(f"{address}:{port}")
        raise ConnectionRefusedError

    return World(web=Web(dial=refuse), clock=clock, chance=lambda low, high: (low + high) / 2)  # type: ignore[arg-type]


def test_about_one_a_second() -> None:
    clock, dialled = Clock(), []  # type: ignore[var-annotated]
    outcomes = call_all(calls(20), world(clock, dialled))
    assert outcomes == Counter({Outcome.SILENT: 20})
    assert sorted(dialled) == sorted(call.server for call in calls(20))
    assert clock.slept == [1.0] * 20


def test_a_round_has_an_end() -> None:
    clock, dialled = Clock(), []  # type: ignore[var-annotated]
    outcomes = call_all(calls(2000), world(clock, dialled))
    assert outcomes[Outcome.SILENT] == 2000
    assert len(dialled) == MAX_SECONDS


def test_servers_that_hold_us_up_do_not_make_a_round_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the real clock: a hundred of them, one second each, and eight callers."""
    monkeypatch.setattr("firstboot.wakeup.MAX_SECONDS", 1.0)
    monkeypatch.setattr("firstboot.wakeup.SERVER_SECONDS", 1.0, raising=False)

    def hold(address: str, port: int, seconds: float) -> None:
        time.sleep(1.0)
        raise TimeoutError

    slow = World(web=Web(dial=hold), chance=lambda low, high: 0.005)  # type: ignore[arg-type]
    begin = time.monotonic()
    assert call_all(calls(100), slow) == Counter({Outcome.SILENT: 100})
    assert time.monotonic() - begin < 5


def test_the_pace_has_jitter_and_a_strange_answer_does_not_end_the_round() -> None:
    clock = Clock()
    web = Web(dial=lambda *_: 1 / 0)  # type: ignore[arg-type,return-value]
    assert call_all(calls(50), World(web=web, clock=clock)) == Counter({Outcome.SILENT: 50})
    assert len(set(clock.slept)) > 10
    assert all(0.5 <= one <= 1.5 for one in clock.slept)


def test_what_came_of_it_in_words() -> None:
    result = WakeupResult(found=3, woken=1, silent=1, refused=1)
    assert describe(result) == (
        "1 of 3 servers know that we are back; 1 do not answer; 1 do not accept our signature."
    )
