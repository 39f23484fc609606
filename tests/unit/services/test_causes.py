"""What an owner is told to do by hand must not lead the Internet to the pages of the home."""

from __future__ import annotations

import re

import pytest

from services.federation.judge import EXPLANATIONS as SEEN
from services.portmap.causes import EXPLANATIONS, FORWARDS
from services.portmap.mapper import PORTS

TEXTS = [
    *(one.next_step for one in EXPLANATIONS.values()),
    *(one.next_step for one in SEEN.values()),
]


def test_the_forwards_are_those_that_we_ask_a_router_for() -> None:
    told = {(int(a), int(b)) for a, b in re.findall(r"(\d+) to (\d+)", FORWARDS)}
    assert told == {(port.external, port.internal) for port in PORTS}


@pytest.mark.parametrize("text", TEXTS)
def test_who_is_told_to_forward_is_told_where_to(text: str) -> None:
    if "forward" in text and "by hand" in text:
        assert FORWARDS in text
