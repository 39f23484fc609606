"""A homeserver that ends as soon as it is started, with a stand-in for systemctl."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.errors import StateError
from firstboot.steps.context import Context
from firstboot.steps.homeserver import StartHomeserver
from services.units import SystemdUnits
from unit.services.appliance_files import make_appliance

# systemd.service(5): without a start limit the unit is "activating" for ever, never "failed".
SYSTEMCTL = """#!/bin/sh
case $1 in
    start) ;;
    is-failed) exit 1 ;;
    show) echo x >> "$TMPDIR/asked"; wc -l < "$TMPDIR/asked" ;;
esac
"""
JOURNALCTL = "#!/bin/sh\necho 'a signing key is missing'\n"


def test_setup_does_not_wait_for_one_that_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_appliance(tmp_path)
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("appliance.deadline.time.sleep", lambda seconds: None)
    context = Context(paths=paths, units=SystemdUnits(), report=print, start_seconds=60)
    with pytest.raises(StateError, match="stopped: a signing key is missing"):
        StartHomeserver().apply(context)
    assert len((tmp_path / "asked").read_text().splitlines()) == 6
