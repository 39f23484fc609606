"""This machine's name, for programs in a cage of their own."""

from __future__ import annotations

import socket

from appliance.paths import Paths
from appliance.validate import LABEL


def host_name(paths: Paths) -> str:
    """The first label, in lower case: the name that was set at flashing, or the kernel's.

    With ProtectHostname= a service keeps the kernel's name of its own start (systemd.exec(5)), and
    the name is set after that, at the start in which hearth.toml or Imager's file is first read.
    """
    try:
        chosen = (paths.system / "hostname").read_text(errors="replace").partition("\n")[0]
    except OSError:
        chosen = ""
    if LABEL.fullmatch(chosen):
        return chosen
    return socket.gethostname().partition(".")[0].lower()
