"""What a person sees meanwhile."""

from __future__ import annotations

import io

import pytest

from imagebuild.flash.progress import Meter


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("total", "fraction", "line"),
    [
        (400_000_000, None, "writing: 25 %, 100 of 400 MB, 20 MB/s, 0:15 left"),
        (None, lambda: 0.02, "writing: 2 %, 100 MB, 20 MB/s, 4:05 left"),
        (None, None, "writing: 100 MB, 20 MB/s"),
    ],
)
def test_rate_and_time_left(total: int | None, fraction, line: str) -> None:
    clock, out = Clock(), Terminal()
    meter = Meter("writing", total, fraction=fraction, stream=out, now=clock)
    clock.seconds += 0.1
    meter.tell(50_000_000)
    assert out.getvalue() == ""  # not at each piece
    clock.seconds += 4.9
    meter.tell(50_000_000)
    assert out.getvalue() == f"\r\x1b[K{line}"
    meter.finish()
    assert out.getvalue().endswith("\r\x1b[Kwriting: 100 MB in 5.0 s, 20 MB/s\n")


def test_a_log_gets_a_line_now_and_then() -> None:
    clock, out = Clock(), io.StringIO()
    meter = Meter("checking", 400_000_000, stream=out, now=clock)
    for _ in range(20):
        clock.seconds += 1
        meter.tell(10_000_000)
    meter.finish()
    assert out.getvalue() == (
        "checking: 25 %, 100 of 400 MB, 10 MB/s, 0:30 left\n"
        "checking: 50 %, 200 of 400 MB, 10 MB/s, 0:20 left\n"
        "checking: 200 MB in 20.0 s, 10 MB/s\n"
    )
