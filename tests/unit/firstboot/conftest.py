from __future__ import annotations

from pathlib import Path

import pytest

from services import passwords
from unit.firstboot.machine import Machine


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every agent hashes a claim code. The real price is paid in services/test_passwords.py."""
    monkeypatch.setattr(passwords, "COST", 16)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine at its first boot, its agent started."""
    made = Machine(tmp_path)
    made.start()
    return made
