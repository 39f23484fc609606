"""When things go wrong on the build host: a sentence, a hint, an own exit code, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import (
    ConfigError,
    DiskFullError,
    HashMismatchError,
    HearthError,
    ImageError,
    MissingToolError,
    NetworkError,
    PrivilegeError,
)
from imagebuild.host import NEEDED_TOOLS, debian_architecture
from imagebuild.recipe import SOURCE
from unit.imagebuild.mirror import Mirror, make_deb, running_mirror
from unit.imagebuild.program import BINFMT, REGISTERED, Program, as_nobody, as_root

LARGE = "64g"  # a tmpfs has this size without using it


@pytest.fixture
def program() -> Iterator[Program]:
    # Not tmp_path: pytest's directories are closed to the user nobody.
    with tempfile.TemporaryDirectory(prefix="hearth-") as directory:
        yield Program(Path(directory))


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with running_mirror() as found:
        yield found


def check_failure(
    result: subprocess.CompletedProcess[str], kind: type[HearthError], *words: str
) -> None:
    """One sentence with ``words`` in it, one hint, the class's exit code."""
    text = result.stderr
    assert "Traceback" not in text, text
    assert result.returncode == kind.exit_code, text
    assert result.stdout == ""
    lines = text.splitlines()
    [error] = [line for line in lines if line.startswith("error: ")]
    [hint] = [line for line in lines if line.startswith(" hint: ")]
    assert lines.index(hint) - lines.index(error) <= 5, text  # the end of a log at the most
    for word in words:
        assert word in text, text


def test_without_root(program: Program) -> None:
    result = program.run("build", prefix=as_nobody())
    check_failure(result, PrivilegeError, "needs root", "sudo image/build")
    assert not (program.source / "build").exists()


@pytest.mark.parametrize("tool", NEEDED_TOOLS)
def test_a_missing_tool(program: Program, tool: str) -> None:
    (program.programs / tool).unlink()
    program.environment["PATH"] = os.fspath(program.programs)
    for name in ("unshare", "sh"):
        (program.programs / name).symlink_to(str(shutil.which(name)))
    result = program.run("build", prefix=as_root())
    check_failure(result, MissingToolError, f"'{tool}'", f"apt-get install {NEEDED_TOOLS[tool]}")


def test_without_debians_keys(program: Program) -> None:
    script = "mkdir -p /usr/share/keyrings; mount -t tmpfs none /usr/share/keyrings"
    result = program.run("build", prefix=as_root(script))
    check_failure(result, MissingToolError, "apt-get install debian-archive-keyring")


def test_without_binfmt(program: Program) -> None:
    if debian_architecture() == "arm64":
        pytest.skip("arm64 programs need no emulation here")
    program.with_tools_tree()
    hidden = f"[ ! -d {BINFMT} ] || mount -t tmpfs none {BINFMT}\n"
    no_mounts = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    prefix = [*as_root(program.disk_of(LARGE) + hidden), *no_mounts]
    result = program.run("build", "--locked", "--mirror", "http://127.0.0.1:1/debian",
                         "--output", os.fspath(program.disk), prefix=prefix)  # fmt: skip
    check_failure(result, MissingToolError, "binfmt_misc", "modprobe")


def test_too_small_a_disk_is_told_before_any_work(program: Program) -> None:
    prefix = as_root(program.disk_of("64m"))
    result = program.run("build", "--output", os.fspath(program.disk / "new"), prefix=prefix)
    check_failure(result, DiskFullError, "0.1 GiB free", "HEARTH_CACHE")
    assert not list(program.cache.iterdir())


def test_a_disk_that_fills_up(program: Program, mirror: Mirror, tmp_path: Path) -> None:
    package, content = make_deb(tmp_path, "big", os.urandom(2 << 20).hex())
    mirror.files = {package.filename: content}
    program.with_tools_tree()
    program.lock([package])
    prefix = as_root(REGISTERED + program.disk_of(LARGE) + program.cache_of("2m"))
    result = program.run("build", "--locked", "--mirror", mirror.uri,
                         "--output", os.fspath(program.disk), prefix=prefix)  # fmt: skip
    check_failure(result, DiskFullError, "No space left on device", "make room")


def test_an_unreachable_mirror(program: Program, tmp_path: Path) -> None:
    with running_mirror() as gone:
        uri = gone.uri
    program.with_tools_tree()
    program.lock([make_deb(tmp_path, "one")[0]])
    prefix = as_root(REGISTERED + program.disk_of(LARGE))
    result = program.run("build", "--locked", "--mirror", uri,
                         "--output", os.fspath(program.disk), prefix=prefix)  # fmt: skip
    check_failure(result, NetworkError, "cannot download one 1:2-3", "Connection refused")


def test_a_tampered_package(program: Program, mirror: Mirror, tmp_path: Path) -> None:
    package, content = make_deb(tmp_path, "one")
    mirror.files = {package.filename: content[:-1] + bytes([content[-1] ^ 1])}
    program.with_tools_tree()
    program.lock([package])
    prefix = as_root(REGISTERED + program.disk_of(LARGE))
    result = program.run("build", "--locked", "--mirror", mirror.uri,
                         "--output", os.fspath(program.disk), prefix=prefix)  # fmt: skip
    check_failure(result, HashMismatchError, "one_1%3a2-3_all.deb", "SHA-256")
    assert not list((program.cache / "debs").iterdir())


def test_without_a_lock_file(program: Program) -> None:
    program.with_tools_tree()
    (program.source / "image/hearth.lock").unlink()
    prefix = as_root(REGISTERED + program.disk_of(LARGE))
    result = program.run("build", "--locked", "--mirror", "http://127.0.0.1:1/debian",
                         "--output", os.fspath(program.disk), prefix=prefix)  # fmt: skip
    check_failure(result, ConfigError, "no lock file", "hearth lock")


def test_an_unknown_key_in_the_recipe(program: Program) -> None:
    text = program.profile.read_text()
    program.profile.write_text(text.replace("\npackages =", "\npakcages =", 1))
    result = program.run("build", prefix=as_nobody())
    check_failure(result, ConfigError, "hearth.toml", "'pakcages'", "did you mean 'packages'?")


def test_a_recipe_that_is_not_toml(program: Program) -> None:
    program.profile.write_text("version = \n")
    result = program.run("build", prefix=as_nobody())
    check_failure(result, ConfigError, "hearth.toml", "line 1")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("boards", "rpi4b"), ("'rpi4b'", "did you mean 'rpi4'?")),
        (("build", "--profile", "heart"), ("'heart'", "did you mean 'hearth'?")),
        (("build", "--release"), ("--keyring",)),
    ],
)
def test_wrong_names(program: Program, argv: tuple[str, ...], words: tuple[str, ...]) -> None:
    check_failure(program.run(*argv, prefix=as_nobody()), ConfigError, *words)


def test_asking_for_what_was_not_built(program: Program) -> None:
    prefix = as_root()
    check_failure(program.run("summary", prefix=prefix), ImageError, "sudo image/build")
    check_failure(program.run("vm", prefix=prefix), ImageError, "sudo image/build")


def test_files_that_root_has_left(program: Program) -> None:
    if os.geteuid() == 0:
        result = program.run("vm", prefix=as_nobody())
    else:
        program.source.chmod(0o555)
        result = program.run("vm")
        program.source.chmod(0o755)
    check_failure(result, PrivilegeError, "Permission denied", "sudo")


def test_with_debug_the_traceback_is_there(program: Program) -> None:
    result = program.run("--debug", "boards", "rpi4b")
    assert "Traceback" in result.stderr
    assert "ConfigError" in result.stderr


def test_a_wrong_option_is_usage() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "imagebuild", "build", "--zip"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{SOURCE}/image:{SOURCE}/firstboot"},
    )  # fmt: skip
    assert result.returncode == 2
    assert "--zip" in result.stderr


@pytest.mark.parametrize("command", ["build", "vm", "lock", "boards", "summary"])
def test_every_command_explains_itself(program: Program, command: str) -> None:
    result = program.run(command, "--help", prefix=as_nobody())
    assert result.returncode == 0
    assert result.stdout.startswith("usage: hearth")


def test_boards_are_listed_for_people_and_scripts(program: Program) -> None:
    table = program.run("boards", prefix=as_nobody()).stdout
    assert "Raspberry Pi 4" in table
    rows = json.loads(program.run("boards", "--json", prefix=as_nobody()).stdout)
    assert {"rpi3", "rpi4", "rpi5"} <= {row["name"] for row in rows}
