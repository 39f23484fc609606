from __future__ import annotations

import socket
from pathlib import Path

import pytest

from appliance.hostname import host_name
from appliance.paths import Paths


@pytest.mark.parametrize("chosen", [None, "", "../x\n", "A B\n", "\n", "-x\n"])
def test_without_a_usable_choice_it_is_the_kernels(tmp_path: Path, chosen: str | None) -> None:
    paths = Paths(tmp_path)
    if chosen is not None:
        paths.system.mkdir(parents=True)
        (paths.system / "hostname").write_text(chosen)
    assert host_name(paths) == socket.gethostname().partition(".")[0].lower()


def test_the_name_set_at_flashing_counts(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.system.mkdir(parents=True)
    (paths.system / "hostname").write_text("attic\n")
    assert host_name(paths) == "attic"
