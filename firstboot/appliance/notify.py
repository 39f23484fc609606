"""Telling systemd that a service is ready, for those that must stay small."""

from __future__ import annotations

import os
import socket


def notify_ready() -> None:
    """sd_notify(3), READY=1; nothing happens where nobody waits for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        notify.sendto(b"READY=1", address)
