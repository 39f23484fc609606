"""CI must not pass by skipping: what the world and vm tiers need is installed, or they fail.

The unit tier also runs without root and without Chromium (ci/test --quick), so it may skip.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.errors import MissingToolError
from world.tree import NEEDED, require_host

TESTS = Path(__file__).parents[1]
SKIPS = re.compile(r"pytest\.skip\(|importorskip|mark\.skip|mark\.xfail|@unittest\.skip")


def test_no_test_skips_itself() -> None:
    tiers = [path for tier in ("world", "vm") for path in (TESTS / tier).rglob("*.py")]
    assert not [path for path in tiers if SKIPS.search(path.read_text())]


@pytest.mark.parametrize("program", NEEDED)
def test_what_the_world_needs_is_named_when_it_is_missing(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in NEEDED:
        if other != program:
            (tmp_path / other).write_text("#!/bin/sh\n")
            (tmp_path / other).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match=program) as caught:
        require_host()
    assert NEEDED[program] in (caught.value.hint or "")


def test_ci_setup_installs_what_the_world_needs() -> None:
    text = (TESTS.parent / "ci/setup").read_text()
    wanted = next(line for line in text.split(";;") if "test) packages" in line)
    assert set(NEEDED.values()) <= set(wanted.split())
