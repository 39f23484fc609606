"""A day with a week's bad luck at three providers; whole weeks are in world/test_week.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.ddns.provider import Provider
from services.ddns.providers import find_provider
from unit.firstboot.week import open_week


def live(provider: Provider, root: Path, days: float, pace: float) -> None:
    """Nobody has noted a breach, and in the end all is well."""
    with open_week(provider, root) as week:
        counts = week.live(days, pace=pace)
    print(counts)
    assert counts.breaches == ()
    assert counts.is_correct
    # It was eventful: addresses changed, and somebody was asked for certificates.
    assert counts.updates > 5
    assert counts.to_echoes > 5
    assert counts.orders > 1


@pytest.mark.parametrize("provider", ["desec", "noip", "rfc2136"])
def test_a_hard_day(provider: str, tmp_path: Path) -> None:
    live(find_provider(provider), tmp_path, 1, 7)
