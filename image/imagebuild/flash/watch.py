"""Disks that appear and disappear, as udev (or, where none runs, the kernel) tells."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pyudev

from appliance.deadline import Deadline

T = TypeVar("T")
UDEV = Path("/run/udev/control")


def make_monitor(context: pyudev.Context) -> pyudev.Monitor:
    """Of block devices. The kernel speaks first, but only udev knows models and labels."""
    monitor = pyudev.Monitor.from_netlink(context, source="udev" if UDEV.exists() else "kernel")
    monitor.filter_by("block")
    monitor.start()
    return monitor


def wait_for(context: pyudev.Context, look: Callable[[], T | None], seconds: float) -> T | None:
    """Look now and after each event, until something is found or the time is over."""
    monitor = make_monitor(context)  # before the first look: nothing falls in between
    deadline = Deadline(seconds)
    while not (found := look()):
        if monitor.poll(deadline.remaining) is None and deadline.expired:
            return None
    return found


@contextmanager
def watch_for_removal(context: pyudev.Context, name: str) -> Iterator[threading.Event]:
    """An event that is set when the disk goes, or when a reader says that its card has gone."""
    pulled = threading.Event()

    def note(device: pyudev.Device) -> None:
        if device.sys_name != name:
            return
        is_empty = device.attributes.get("size") in (b"0", b"0\n", None)
        if device.action == "remove" or (device.action == "change" and is_empty):
            pulled.set()

    observer = pyudev.MonitorObserver(make_monitor(context), callback=note)
    observer.start()
    try:
        yield pulled
    finally:
        observer.stop()
