"""The one door to other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.errors import CommandError, DeadlineError, MissingToolError
from appliance.run import OUTPUT_TAIL_LINES, end, find_tool, run, spawn


def test_output_comes_back() -> None:
    assert run(["sh", "-c", "echo out; echo err >&2"]).stdout == "out\n"


def test_arguments_are_never_read_by_a_shell() -> None:
    assert run(["echo", "$(id)", "a b", ";"]).stdout == "$(id) a b ;\n"


def test_standard_input_is_closed_unless_given() -> None:
    assert run(["cat"]).stdout == ""
    assert run(["cat"], input="text").stdout == "text"


def test_a_failure_carries_the_command_and_the_end_of_its_output() -> None:
    with pytest.raises(CommandError) as caught:
        run(["sh", "-c", "seq 1 100; echo 'what went wrong' >&2; exit 3"])
    lines = caught.value.message.splitlines()
    assert lines[0] == "sh failed with exit code 3:"
    assert lines[-1] == "what went wrong"
    assert len(lines) == OUTPUT_TAIL_LINES + 1
    assert "seq 1 100" in (caught.value.hint or "")


def test_a_failure_can_be_looked_at_instead() -> None:
    assert run(["false"], check=False).returncode == 1


def test_a_missing_program_is_named() -> None:
    with pytest.raises(MissingToolError, match="'no-such-program'"):
        run(["no-such-program"])
    with pytest.raises(MissingToolError, match="'no-such-program'"):
        spawn(["no-such-program"])
    assert find_tool("no-such-program") is None


def test_a_missing_directory_is_not_called_a_missing_program(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"No such file or directory.*/gone"):
        run(["true"], cwd=tmp_path / "gone")


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(DeadlineError, match="sleep did not end"):
        run(["sleep", "60"], timeout=0.2)


def test_the_environment_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SHELL", "x")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    found = run(["env"], env={"ADDED": "1"}).stdout.splitlines()
    assert "ADDED=1" in found
    assert "LC_ALL=C.UTF-8" in found
    assert not any(line.startswith("SECRET_OF_THE_SHELL") for line in found)


def test_output_that_is_not_text_does_not_break_us() -> None:
    assert run(["printf", r"\377ok"]).stdout.endswith("ok")


def test_a_log_gets_both_streams(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        run(["sh", "-c", "echo out; echo err >&2"], log=log)
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


def test_what_was_spawned_is_ended_even_when_it_does_not_want_to(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        "import signal, pathlib, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    )
    process = spawn([sys.executable, "-c", code, ready])
    wait_until(ready.exists, seconds=20, what="the stubborn child", every=0.02)
    end(process, seconds=0.2)
    assert process.poll() is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_output_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    """systemd starts services without one."""
    code = (
        "from appliance.run import PIPE, run, spawn\n"
        "argv = ['printf', 'Zo\\\\303\\\\253']\n"
        "print(ascii(run(argv).stdout))\n"
        "with spawn(argv, output=PIPE) as process:\n"
        "    print(ascii(process.stdout.read()))\n"
    )
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0",
             "PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]}  # fmt: skip
    said = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, check=True)
    assert said.stdout == b"'Zo\\xeb'\n" * 2
