from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import AccessError
from firstboot.throttle import MAX_DELAY, MAX_SOURCES, Throttle, delay_after
from unit.firstboot.machine import HandClock

STRANGER, OWNER = "192.0.2.66", "192.0.2.10"


def fail(throttle: Throttle, source: str) -> None:
    throttle.admit(source)
    throttle.failed(source)


def test_three_slips_are_free_then_the_wait_doubles_to_its_cap() -> None:
    assert [delay_after(n) for n in range(11)] == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert delay_after(10**6) == MAX_DELAY


def test_a_guess_before_its_time_is_refused_and_costs_nothing() -> None:
    clock = HandClock()
    throttle = Throttle(clock=clock)
    for _ in range(4):
        clock.now += 5
        fail(throttle, STRANGER)
    for _ in range(50):
        with pytest.raises(AccessError) as caught:
            throttle.admit(STRANGER)
        assert "wait" in (caught.value.hint or "")
    clock.now += 2
    throttle.admit(STRANGER)


def test_success_clears_the_record() -> None:
    clock = HandClock()
    throttle = Throttle(clock=clock)
    for _ in range(5):
        clock.now += 20
        fail(throttle, OWNER)
    clock.now += 20
    throttle.admit(OWNER)
    throttle.succeeded(OWNER)
    throttle.admit(OWNER)


def test_one_that_keeps_failing_cannot_lock_the_owner_out() -> None:
    clock = HandClock()
    throttle = Throttle(clock=clock)
    refused = 0
    for _ in range(5000):
        clock.now += 0.01
        try:
            fail(throttle, STRANGER)
        except AccessError:
            refused += 1
        throttle.admit(OWNER) if _ % 100 == 0 else None
    assert refused > 4900


def test_many_that_have_failed_share_one_guess_a_second_and_the_owner_none_of_it() -> None:
    clock = HandClock()
    throttle = Throttle(clock=clock)
    sources = [f"2001:db8::{n:x}" for n in range(200)]
    for source in sources:
        clock.now += 0.25
        fail(throttle, source)
    admitted = 0
    for second in range(100):
        clock.now += 1
        for source in sources:
            try:
                fail(throttle, source)
                admitted += 1
            except AccessError:
                continue
        if second % 10 == 0:
            throttle.admit(OWNER)
    assert admitted <= 111


def test_fresh_addresses_get_five_guesses_a_second_in_all() -> None:
    clock = HandClock()
    throttle = Throttle(clock=clock)
    admitted = 0
    for number in range(20_000):
        clock.now += 0.005
        try:
            fail(throttle, f"10.0.{number >> 8}.{number & 255}")
            admitted += 1
        except AccessError:
            continue
    assert 480 <= admitted <= 525
    clock.now += 1
    throttle.admit(OWNER)


def test_records_survive_a_restart_of_the_agent(tmp_path: Path) -> None:
    clock, path = HandClock(), tmp_path / "attempts.json"
    throttle = Throttle(path, clock=clock)
    for _ in range(7):
        clock.now += 60
        fail(throttle, STRANGER)
    again = Throttle(path, clock=clock)
    with pytest.raises(AccessError):
        again.admit(STRANGER)
    clock.now += 60
    again.admit(STRANGER)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_slip_writes_nothing_and_a_damaged_file_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "attempts.json"
    throttle = Throttle(path, clock=HandClock())
    fail(throttle, OWNER)
    assert not path.exists()
    for text in ("", "[]", '{"a": 1}', '{"a": ["x", "y"]}', "\x00"):
        path.write_text(text)
        Throttle(path, clock=HandClock()).admit(OWNER)


def test_memory_is_bounded(tmp_path: Path) -> None:
    clock = HandClock()
    throttle = Throttle(clock=clock)
    for number in range(MAX_SOURCES * 3):
        clock.now += 0.001
        throttle.failed(f"source {number}")
    assert len(throttle._records) <= MAX_SOURCES
