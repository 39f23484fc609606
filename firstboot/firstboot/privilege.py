"""What only root may do."""

from __future__ import annotations

import os

from appliance.errors import PrivilegeError


def require_root() -> None:
    """Raises PrivilegeError for anybody else."""
    if os.geteuid() != 0:
        raise PrivilegeError("this needs root", hint="sign in over SSH as root")
