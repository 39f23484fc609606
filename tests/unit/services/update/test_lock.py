from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ConflictError
from appliance.paths import Paths
from services.update.lock import is_update_running, update_lock


def test_never_two_at_once(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert not is_update_running(paths)
    with update_lock(paths):
        assert is_update_running(paths)
        with pytest.raises(ConflictError), update_lock(paths):
            pass
    assert not is_update_running(paths)
    with update_lock(paths):
        pass
