"""The only place that starts other programs.

argv lists only, standard input closed, a small clean environment, non-zero exit is an error that
carries the command and the end of its output.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from appliance.errors import CommandError, DeadlineError, HearthError, MissingToolError

logger = logging.getLogger("hearth")

KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "TERM", "TMPDIR", "USER", "SSL_CERT_FILE",
                    "http_proxy", "https_proxy", "no_proxy", "SOURCE_DATE_EPOCH")  # fmt: skip
OUTPUT_TAIL_LINES = 15

Argument = str | os.PathLike[str]
Process = subprocess.Popen[str]
# For ``spawn``: talk with the program, or let what it says go.
PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL


def run(
    argv: Sequence[Argument],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    check: bool = True,
    timeout: float | None = None,
    log: IO[str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its output as text.

    With ``log`` both output streams go to that open file instead and the result's ``stdout`` is
    empty. ``env`` is added to the kept environment.

    Raises MissingToolError, CommandError (when ``check``), DeadlineError (after ``timeout`` s).
    """
    command = [os.fspath(part) for part in argv]
    logger.debug("+ %s", shlex.join(command))
    try:
        result = subprocess.run(
            command,
            cwd=cwd,
            env=clean_environment(env),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            stdout=log if log is not None else subprocess.PIPE,
            stderr=log if log is not None else subprocess.PIPE,
            encoding="utf-8",  # whatever this process's own locale is
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise not_started(command[0], error) from error
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} did not end within {timeout:.0f} s"
        raise DeadlineError(message, hint=f"command: {shlex.join(command)}") from error
    if check and result.returncode != 0:
        raise failed_command(command, result.returncode, result.stdout, result.stderr)
    return result


def spawn(
    argv: Sequence[Argument],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    output: IO[str] | int = subprocess.DEVNULL,
    errors: IO[str] | int = subprocess.STDOUT,
    input: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[str]:
    """Start a program that goes on beside us; the caller ends and reaps it."""
    command = [os.fspath(part) for part in argv]
    logger.debug("& %s", shlex.join(command))
    try:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=clean_environment(env),
            stdin=input,
            stdout=output,
            stderr=errors,
            encoding="utf-8",
            pass_fds=pass_fds,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise not_started(command[0], error) from error


def end(process: Process, *, seconds: float = 5.0) -> None:
    """End a program that ``spawn`` started, and reap it: politely, then not."""
    process.terminate()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that children get: a few kept names, a fixed locale, and ``extra``."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **kept, **(extra or {})}


def not_started(name: str, error: OSError) -> HearthError:
    """A PATH with a directory that this user may not read gives "permission denied" as well."""
    if error.filename == name and shutil.which(name) is None:
        return missing_tool(name)
    return CommandError(
        f"{name} could not be started: {error.strerror} ({error.filename})",
        hint="check that the file and the directory exist and that this user may use them",
    )


def missing_tool(name: str) -> MissingToolError:
    searched = os.environ.get("PATH", os.defpath)
    return MissingToolError(
        f"program {name!r} is not installed (searched {searched})",
        hint=f"install the Debian package that holds {Path(name).name!r}",
    )


def failed_command(
    command: Sequence[str], code: int, stdout: str | None, stderr: str | None
) -> CommandError:
    tail = "\n".join(f"{stdout or ''}\n{stderr or ''}".strip().splitlines()[-OUTPUT_TAIL_LINES:])
    message = f"{Path(command[0]).name} failed with exit code {code}"
    if tail:
        message += f":\n{tail}"
    return CommandError(message, hint=f"command: {shlex.join(command)}")


def find_tool(name: str) -> Path | None:
    """Where a program is on PATH, or None."""
    found = shutil.which(name)
    return Path(found) if found else None
