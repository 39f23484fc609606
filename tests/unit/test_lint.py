"""The rules that machines check, each as one test, so that `ci/test --quick` is all one runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
PROGRAMS = Path(sys.prefix) / "bin"
# BusyBox's ash runs the initramfs's script; dash runs what #!/bin/sh starts on the device.
DIALECTS = {"bash": "bash", "/bin/bash": "bash", "/bin/sh": "sh", "/bin/busybox sh": "busybox"}


def check(*argv: str) -> None:
    result = subprocess.run(
        [PROGRAMS / argv[0], *argv[1:]], cwd=SOURCE, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        pytest.fail(f"{' '.join(argv)}:\n{result.stdout}{result.stderr}", pytrace=False)


def tracked_files() -> list[Path]:
    """What git knows, and what it would add."""
    argv = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"]
    result = subprocess.run(argv, cwd=SOURCE, capture_output=True, text=True, check=True)
    return [SOURCE / name for name in result.stdout.splitlines() if (SOURCE / name).is_file()]


def shell_scripts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked_files():
        with path.open("rb") as file:
            first = file.readline(80).decode(errors="replace").strip()
        if first.startswith("#!") and (dialect := DIALECTS.get(first[2:].strip())):
            found.append((path, dialect))
    return found


def test_ruff() -> None:
    check("ruff", "check")


def test_format() -> None:
    check("ruff", "format", "--check")


def test_mypy() -> None:
    check("mypy")


def test_pyright() -> None:
    check("pyright")


def test_imports_run_one_way() -> None:
    check("lint-imports")


def test_spelling() -> None:
    check("codespell")


def test_shell_scripts() -> None:
    scripts = shell_scripts()
    assert {"image/build", "image/boot/init", "ci/setup"} <= {
        str(path.relative_to(SOURCE)) for path, _ in scripts
    }
    for path, dialect in scripts:
        check("shellcheck", f"--shell={dialect}", str(path.relative_to(SOURCE)))


@pytest.mark.parametrize("directory", ["image/imagebuild", "firstboot", "setup-ui/setup_ui"])
def test_no_module_is_longer_than_300_lines(directory: str) -> None:
    long = {
        str(path): count
        for path in (SOURCE / directory).rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 300
    }
    assert not long
