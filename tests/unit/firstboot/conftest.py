from __future__ import annotations

from pathlib import Path

import pytest

from unit.firstboot.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine at its first boot, its agent started."""
    made = Machine(tmp_path)
    made.start()
    return made
