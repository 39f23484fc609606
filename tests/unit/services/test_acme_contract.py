"""When certificates are asked for, over months of a clock that nobody waits for."""

from __future__ import annotations

import itertools

import pytest

from appliance.errors import CertificateError, HearthError, NetworkError
from services.acme.contract import (
    DAY,
    HOUR,
    STOPS,
    AcmeState,
    Act,
    Wanted,
    after_failure,
    after_issue,
    after_rehearsal,
    plan,
    renewed_for,
)

WANTED = Wanted(names=("example.org", "matrix.example.org"), method="http-01")
LIFE = 90 * DAY
START = 1_800_000_000.0


class Life:
    """A job that is woken every quarter of an hour; ``fails`` says what happens at a time."""

    def __init__(self, fails: HearthError | None = None) -> None:
        self.now = START
        self.state = AcmeState()
        self.fails = fails
        self.wanted = WANTED
        self.asked: list[tuple[float, Act]] = []

    def live(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.wake()
            self.now += 15 * 60

    def wake(self) -> None:
        while (step := plan(self.state, self.wanted, self.now)).act is not Act.NOTHING:
            self.asked.append((self.now, step.act))
            self.state = renewed_for(self.state, self.wanted)
            if self.fails is not None:
                self.state = after_failure(self.state, self.fails, self.now)
            elif step.act is Act.REHEARSE:
                self.state = after_rehearsal(self.state)
            else:
                self.state = after_issue(
                    self.state, starts=self.now, ends=self.now + LIFE, now=self.now
                )

    def count(self, window: float) -> int:
        """The largest number of requests in any ``window`` seconds."""
        times = [at for at, _ in self.asked]
        return max((sum(at <= x < at + window for x in times) for at in times), default=0)


def test_the_first_one_is_rehearsed() -> None:
    life = Life()
    life.live(HOUR)
    assert [act for _, act in life.asked] == [Act.REHEARSE, Act.ISSUE]
    assert life.state.certified == WANTED.names


def test_a_year_renews_with_a_third_of_the_lifetime_left() -> None:
    life = Life()
    life.live(365 * DAY)
    issues = [at for at, act in life.asked if act is Act.ISSUE]
    gaps = [later - earlier for earlier, later in itertools.pairwise(issues)]
    assert all(LIFE * (2 / 3 - 1 / 29) <= gap <= LIFE * 2 / 3 + HOUR for gap in gaps), gaps
    assert sum(act is Act.REHEARSE for _, act in life.asked) == 1


@pytest.mark.parametrize("kind", ["connection", "dns", "unauthorized", "unknown"])
def test_failed_proofs_stay_below_five_an_hour(kind: str) -> None:
    life = Life(CertificateError("refused", kind=kind))
    life.live(7 * DAY)
    assert 1 < life.count(HOUR) <= 3
    assert life.count(DAY) <= 7
    assert len(life.asked) <= 20
    assert all(act is Act.REHEARSE for _, act in life.asked)


def test_the_authoritys_own_wait_is_kept_when_it_is_longer() -> None:
    life = Life(CertificateError("too many", kind="rateLimited", retry_after=40 * 3600))
    life.live(3 * DAY)
    times = [at for at, _ in life.asked]
    assert all(later - earlier >= 40 * HOUR for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize("kind", STOPS)
def test_what_only_the_owner_can_change_is_not_asked_again(kind: str) -> None:
    life = Life(CertificateError("never", kind=kind, hint="change it"))
    life.live(30 * DAY)
    assert len(life.asked) == 1
    life.wanted = Wanted(names=("other.example.org",), method="http-01")
    life.fails = None
    life.live(HOUR)
    assert life.state.certified == ("other.example.org",)


def test_an_outage_at_renewal_keeps_what_was_rehearsed() -> None:
    life = Life()
    life.live(55 * DAY)
    life.fails = NetworkError("no route")
    life.live(10 * DAY)
    life.fails = None
    life.live(2 * DAY)
    issues = [act for _, act in life.asked if act is Act.REHEARSE]
    assert len(issues) == 1
    assert life.state.ends > life.now + 80 * DAY


def test_names_that_go_back_and_forth_do_not_use_up_the_week() -> None:
    life = Life()
    for number in range(40):
        life.wanted = Wanted(names=(f"{number % 2}.example.org",), method="http-01")
        life.live(2 * HOUR)
    issues = [at for at, act in life.asked if act is Act.ISSUE]
    assert len(issues) == 3


def test_fewer_names_need_no_new_certificate() -> None:
    life = Life()
    life.live(HOUR)
    life.wanted = Wanted(names=("example.org",), method="http-01")
    life.live(DAY)
    assert len(life.asked) == 2
