"""The screen and the serial line: who this is, where its page is, and the claim code.

There is no login here. Terminals are opened for each write, so that a monitor that is unplugged or
a kernel without virtual terminals costs nothing.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from appliance.errors import HearthError
from appliance.log import logger
from appliance.paths import Paths
from appliance.run import run
from firstboot.screen import View, address_url, render_screen, render_serial

SCREEN = "tty1"
CLEAR = "\x1b[2J\x1b[H\x1b[?25l"  # console_codes(4): erase, home, no cursor
QR_SECONDS = 60


class Console:
    """Writes a view to every terminal, once per change."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._shown: dict[str, str] = {}
        self._qr: tuple[str, str] = ("", "")

    def show(self, view: View) -> None:
        for name in serial_names(self._paths):
            self._write(name, render_serial(view))
        if not has_screen(self._paths):
            return
        # The text first: making the QR code starts another program.
        self._write(SCREEN, CLEAR + render_screen(view, self._qr_for(view, make=False)))
        self._write(SCREEN, CLEAR + render_screen(view, self._qr_for(view, make=True)))

    def _qr_for(self, view: View, *, make: bool) -> str:
        url = address_url(view)
        if make and url and self._qr[0] != url:
            self._qr = (url, make_qr(url))
        return self._qr[1] if self._qr[0] == url else ""

    def _write(self, name: str, text: str) -> None:
        if self._shown.get(name) == text:
            return
        flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
        try:
            descriptor = os.open(self._paths.root / "dev" / name, flags)
        except OSError as error:
            logger.debug("terminal %s: %s", name, error)
            return
        try:
            # A line that cannot take the whole text at once loses the rest, not the agent's time.
            os.write(descriptor, text.encode(errors="replace"))
            self._shown[name] = text
        except OSError as error:
            logger.debug("terminal %s: %s", name, error)
        finally:
            os.close(descriptor)


def serial_names(paths: Paths) -> tuple[str, ...]:
    """The kernel's consoles that are no virtual terminals: ttyAMA0, ttyS0 and the like."""
    try:
        active = (paths.root / "sys/class/tty/console/active").read_text().split()
    except OSError:
        return ()
    return tuple(name for name in active if not name.removeprefix("tty").isdigit())


def has_screen(paths: Paths) -> bool:
    """Whether there is a frame buffer behind the virtual terminals."""
    return any((paths.root / "sys/class/graphics").glob("fb[0-9]*"))


def make_qr(url: str) -> str:
    """Half blocks, two modules high; by a child, since the library stays in memory for good."""
    path = os.pathsep.join(part for part in sys.path if part)
    argv: list[str | Path] = [sys.executable, "-m", "firstboot", "qr", url]
    try:
        return run(argv, env={"PYTHONPATH": path}, timeout=QR_SECONDS).stdout.rstrip("\n")
    except HearthError as error:
        logger.warning("no QR code: %s", error.message)
        return ""
