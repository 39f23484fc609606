"""Our packages on the device's own Python, and byte code that it will use."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from image.conftest import Tool
from imagebuild.context import Context
from imagebuild.host import ensure_emulation
from imagebuild.sandbox import inside

pytestmark = pytest.mark.image

PROGRAMS = (
    "firstboot.cli", "firstboot.agent", "firstboot.storage", "firstboot.provision",
    "firstboot.doctor", "setup_ui.app", "appliance.protocol",
)  # fmt: skip
OURS = ("appliance", "services", "firstboot", "setup_ui")


@pytest.fixture(scope="module")
def device(context: Context, slot: Path) -> list[str]:
    """argv prefix: an arm64 program in the slot, emulated where it must be."""
    ensure_emulation(context.tools.resolve(), "arm64")
    return inside(slot, writable=False)


def test_our_programs_import_with_debians_libraries(device: list[str]) -> None:
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    result = subprocess.run(
        [*device, "/usr/bin/python3", "-I", "-c", f"import sys; sys.path.insert(0, "
         f"'/usr/lib/python3/dist-packages')\n{code}", *PROGRAMS],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("library", ["flask", "jinja2", "cryptography.x509", "netifaces",
                                     "miniupnpc", "pyudev", "tomli_w", "psycopg2", "requests",
                                     "segno"])  # fmt: skip
def test_a_library_loads(device: list[str], library: str) -> None:
    result = subprocess.run(
        [*device, "/usr/bin/python3", "-c", f"import {library}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_hearthctl_explains_itself(device: list[str]) -> None:
    result = subprocess.run(
        [*device, "/usr/bin/hearthctl", "--help"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "hearthctl" in result.stdout


def test_byte_code_of_our_packages_is_there_and_needs_no_look_at_the_source(slot: Path) -> None:
    """PEP 552: flags 1 says hash-based and not to be checked."""
    site = slot / "usr/lib/python3/dist-packages"
    for package in OURS:
        sources = list((site / package).rglob("*.py"))
        assert sources, package
        for source in sources:
            code = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
            assert code.exists(), code
            assert int.from_bytes(code.read_bytes()[4:8], "little") == 1, code


def test_byte_code_of_synapse_is_there(slot: Path) -> None:
    """Synapse needs minutes to start without it under emulation, tens of seconds on a Pi."""
    site = slot / "usr/lib/hearth/synapse"
    for source in (site / "synapse").rglob("*.py"):
        code = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        assert code.exists(), code


def test_no_source_has_a_foreign_interpreter(slot: Path, in_tools: Tool) -> None:
    """Scripts of ours start what the device has."""
    scripts = [path for path in (slot / "usr/lib/hearth").iterdir() if path.is_file()]
    for script in (slot / "usr/bin/hearthctl", *scripts):
        first = script.read_bytes().splitlines()[0].decode()
        assert first.startswith("#!/"), script
        assert (slot / first[2:].split()[0].lstrip("/")).exists(), script
        assert os.access(script, os.X_OK), script
    assert "3.13" in in_tools("python3 --version")
