"""The directories of a fresh data partition, from the table of what persists."""

from __future__ import annotations

import grp
import os
import pwd
import uuid
from pathlib import Path

from appliance.persistence import PERSISTED, Persisted

MACHINE_ID = "system/machine-id"


def make_skeleton(root: Path) -> None:
    """Directories and the machine-id under ``root``, with the owners of the slot's own users.

    A user who does not exist yet (or where we are not root) is left to systemd-tmpfiles.
    """
    root.mkdir(parents=True)
    root.chmod(0o755)
    for entry in PERSISTED:
        path = root / entry.path
        if entry.is_file:
            path.write_text(_content(entry))
        else:
            path.mkdir()
        path.chmod(entry.mode)
        _give(path, entry.owner)


def _content(entry: Persisted) -> str:
    # machine-id(5): 32 hexadecimal digits, made like a version 4 UUID.
    return f"{uuid.uuid4().hex}\n" if entry.path == MACHINE_ID else ""


def _give(path: Path, owner: str) -> None:
    user, _, group = owner.partition(":")
    if os.getuid() != 0:
        return
    try:
        os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
    except KeyError:
        return
