"""What several tests of the builder begin with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from unit.imagebuild.office import Office
from unit.signing import usual_root


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, usual_root(tmp_path / "keys"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    raw = tmp_path / "hearth-1.2-arm64.img"
    raw.write_bytes(b"an image" * 5000)
    subprocess.run(["zstd", "-q", raw], check=True)
    (tmp_path / "hearth-1.2-arm64.bmap").write_text("<bmap/>")
    return raw.with_name(f"{raw.name}.zst")
