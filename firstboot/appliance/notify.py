"""Telling systemd that a service is ready or alive, for those that must stay small."""

from __future__ import annotations

import os
import socket


def notify_ready() -> None:
    """The service has started (sd_notify(3), READY=1)."""
    _notify("READY=1")


def notify_alive() -> None:
    """The service still gets on with its work (sd_notify(3), WATCHDOG=1)."""
    _notify("WATCHDOG=1")


def _notify(message: str) -> None:
    """Nothing happens where nobody waits for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        notify.sendto(message.encode(), address)
