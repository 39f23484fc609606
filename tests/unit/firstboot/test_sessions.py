from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import AccessError
from firstboot.sessions import LIFETIME, MAX_SESSIONS, Sessions
from unit.firstboot.machine import HandClock


class Desk:
    """Sessions with a running clock, a calendar and a time server that may or may not answer."""

    def __init__(self, path: Path) -> None:
        self.path, self.clock = path, HandClock()
        self.calendar, self.is_synchronised = 1_800_000_000.0, False

    def open(self) -> Sessions:
        return Sessions(
            self.path,
            synchronised=lambda: self.is_synchronised,
            clock=self.clock,
            calendar=lambda: self.calendar,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "sessions.json")


def is_live(sessions: Sessions, token: str) -> bool:
    try:
        sessions.require(token)
    except AccessError:
        return False
    return True


def test_tokens_are_long_and_kept_only_as_hashes(desk: Desk) -> None:
    sessions = desk.open()
    tokens = {sessions.issue() for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(token) >= 43 for token in tokens)
    text = desk.path.read_text()
    assert not any(token in text for token in tokens)
    assert desk.path.stat().st_mode & 0o777 == 0o600


def test_only_issued_tokens_count(desk: Desk) -> None:
    sessions = desk.open()
    token = sessions.issue()
    assert is_live(sessions, token)
    for other in ("", token[:-1], token + "x", token.swapcase(), "\ud800"):
        assert not is_live(sessions, other)


def test_they_survive_a_reboot(desk: Desk) -> None:
    token = desk.open().issue()
    desk.clock.now = 3.0
    assert is_live(desk.open(), token)


def test_sign_out_ends_one_for_good(desk: Desk) -> None:
    sessions = desk.open()
    one, two = sessions.issue(), sessions.issue()
    sessions.end(one)
    assert not is_live(sessions, one)
    assert not is_live(desk.open(), one)
    assert is_live(desk.open(), two)


def test_they_expire_by_running_time(desk: Desk) -> None:
    sessions = desk.open()
    token = sessions.issue()
    desk.clock.now += LIFETIME - 1
    assert is_live(sessions, token)
    sessions.save()
    desk.clock.now = 0.0
    later = desk.open()
    assert is_live(later, token)
    desk.clock.now = 2.0
    assert not is_live(later, token)


def test_the_first_answer_of_a_time_server_ends_no_session(desk: Desk) -> None:
    desk.calendar = 0.0
    sessions = desk.open()
    token = sessions.issue()
    desk.calendar, desk.is_synchronised = 1_800_000_000.0, True
    assert is_live(sessions, token)


def test_a_year_in_a_drawer_ends_them_once_the_date_is_known(desk: Desk) -> None:
    desk.is_synchronised = True
    token = desk.open().issue()
    desk.calendar += 365 * 86400
    assert not is_live(desk.open(), token)


def test_there_is_a_limit_and_the_oldest_go(desk: Desk) -> None:
    sessions = desk.open()
    tokens = [sessions.issue() for _ in range(MAX_SESSIONS + 1)]
    assert not is_live(sessions, tokens[0])
    assert is_live(sessions, tokens[1])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sessions": [{"digest": 1}]}', "\udcff"])
def test_a_damaged_file_costs_a_sign_in_only(desk: Desk, text: str) -> None:
    desk.path.write_bytes(text.encode("utf-8", "surrogateescape"))
    sessions = desk.open()
    assert is_live(sessions, sessions.issue())
