"""Who may read what the appliance writes: users and groups by name."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from pathlib import Path

from appliance.errors import ConfigError
from appliance.paths import Paths
from appliance.run import Argument


def find_owner(paths: Paths, user: str, group: str) -> tuple[int, int] | None:
    """Numeric ids for write_atomic; None in a test's own root, which has no service users.

    Raises ConfigError when the user or the group does not exist on the appliance.
    """
    if paths.root != Path("/"):
        return None
    try:
        return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    except KeyError as error:
        message = f"the system has no user {user!r} or no group {group!r}"
        raise ConfigError(message, hint="systemd-sysusers makes them at start-up") from error


def ensure_directory(
    paths: Paths, path: Path, *, user: str = "root", group: str = "root", mode: int = 0o755
) -> None:
    """Make ``path`` (not its parents) with that owner and mode, or correct an existing one."""
    path.mkdir(mode=0o700, exist_ok=True)
    owner = find_owner(paths, user, group)
    if owner is not None:
        os.chown(path, *owner)
    path.chmod(mode)


def as_user(paths: Paths, user: str, argv: list[Argument]) -> list[Argument]:
    """``argv`` run as ``user`` (setpriv(1)); unchanged where we are that user or in a test."""
    if paths.root != Path("/") or os.geteuid() != 0 or user == "root":
        return argv
    if shutil.which("setpriv") is None:
        raise ConfigError("program 'setpriv' is missing", hint="it is part of util-linux")
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--", *argv]
