"""Not one request to anybody beyond what its contract allows, in a week of bad luck (issue 3).

It is here for its length: nothing in it needs the box (unit/firstboot/week.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from services.ddns.provider import Provider
from services.ddns.providers import PROVIDERS, find_provider
from unit.firstboot.test_week import live

pytestmark = [pytest.mark.world, pytest.mark.timeout(600)]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.id)
def test_two_hard_days_at_every_provider(provider: Provider, tmp_path: Path) -> None:
    """As much happens in them as in a week."""
    live(provider, tmp_path, 2, 3.5)


def test_a_week(tmp_path: Path) -> None:
    live(find_provider("duckdns"), tmp_path, 7, 1)


@pytest.mark.long
@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.id)
def test_a_week_at_every_provider(provider: Provider, tmp_path: Path) -> None:
    live(provider, tmp_path, 7, 1)
