from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest

from appliance.errors import ConflictError
from appliance.paths import Paths
from services.update.lock import is_update_running, update_lock


def test_who_has_time_waits_for_its_turn(tmp_path: Path) -> None:
    paths, held = Paths(tmp_path), Event()

    def other() -> None:
        with update_lock(paths):
            held.set()
            Event().wait(0.1)

    thread = Thread(target=other)
    thread.start()
    held.wait()
    with update_lock(paths, seconds=60.0):
        pass
    thread.join()


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
