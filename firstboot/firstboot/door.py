"""The agent's Unix socket: who may knock, how long and how much; one JSON line each way."""

from __future__ import annotations

import dataclasses
import os
import pwd
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from appliance.deadline import Deadline
from appliance.errors import AccessError, ConfigError, HearthError
from appliance.log import logger
from appliance.protocol import MAX_LINE, Request, encode_error

UI_USER = "hearth-ui"
SOCKET_MODE = 0o660
LINE_SECONDS = 5.0
MAX_WORKERS = 16
BACKLOG = 512  # beyond it a peer that does not wait gets EAGAIN: unix(7)
LISTEN_FD = 3  # sd_listen_fds(3): the first socket that systemd passes on
CHUNK = 16 * 1024

Answer = Callable[[bytes], bytes]


def allowed_users() -> frozenset[int]:
    """Root, the user that we run as (in tests not root), and the UI's."""
    users = {0, os.getuid()}
    try:
        users.add(pwd.getpwnam(UI_USER).pw_uid)
    except KeyError:
        logger.warning("there is no user %s: only root can talk to the agent", UI_USER)
    return frozenset(users)


def ui_owner() -> tuple[int, int] | None:
    """Owner and group of files that the UI may read; None where we are not root."""
    if os.getuid() != 0:
        return None
    try:
        return (0, pwd.getpwnam(UI_USER).pw_gid)
    except KeyError:
        return None


def listen(path: Path) -> socket.socket:
    """systemd's socket when it passes one on (sd_listen_fds(3)), else our own at ``path``."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=LISTEN_FD)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o777 & ~SOCKET_MODE)
    try:
        door.bind(os.fspath(path))
    finally:
        os.umask(previous)
    owner = ui_owner()
    if owner is not None:
        os.chown(path, *owner)
    door.listen(BACKLOG)
    return door


class Door:
    """Accepts connections and hands each line to ``answer``, which must not raise."""

    def __init__(self, door: socket.socket, answer: Answer) -> None:
        self._door = door
        self._answer = answer
        self._users = allowed_users()
        self._workers = threading.BoundedSemaphore(MAX_WORKERS)
        self._stop_read, self._stop_write = os.pipe()
        door.setblocking(False)

    def serve(self) -> None:
        """Until ``stop``; then let the running answers end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._door, selectors.EVENT_READ)
            selector.register(self._stop_read, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if self._stop_read in ready:
                    break
                self._accept()
        for _ in range(MAX_WORKERS):
            self._workers.acquire(timeout=LINE_SECONDS)
        self._door.close()
        os.close(self._stop_read)

    def stop(self) -> None:
        """Safe to call from a signal handler or another thread."""
        os.write(self._stop_write, b"x")

    def _accept(self) -> None:
        # A slot first: what waits in the backlog costs us nothing.
        self._workers.acquire()
        try:
            connection, _ = self._door.accept()
        except OSError:
            self._workers.release()
            return
        try:
            threading.Thread(target=self._work, args=(connection,), daemon=True).start()
        except RuntimeError:
            logger.exception("no thread for a connection")
            connection.close()
            self._workers.release()

    def _work(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._serve_one(connection)
        except OSError as error:
            logger.debug("connection lost: %s", error)
        except Exception:
            logger.exception("a connection failed")
        finally:
            self._workers.release()

    def _serve_one(self, connection: socket.socket) -> None:
        _, user, _ = peer_credentials(connection)
        # Also of a stranger: who is still writing when we close would never read the refusal.
        line = read_line(connection)
        if line is None:
            return
        if user not in self._users:
            logger.warning("user %d is not allowed to talk to the agent", user)
            reply = encode_error(AccessError("only the pages may talk to the agent"))
        else:
            reply = self._answer(line)
        connection.settimeout(LINE_SECONDS)
        connection.sendall(reply)


def peer_credentials(connection: socket.socket) -> tuple[int, int, int]:
    """Process, user and group at the other end: unix(7), SO_PEERCRED."""
    size = struct.calcsize("3i")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    process, user, group = struct.unpack("3i", raw)
    return process, user, group


def read_line(connection: socket.socket) -> bytes | None:
    """One line within LINE_SECONDS and MAX_LINE; None when the peer gave up or was too slow."""
    deadline = Deadline(LINE_SECONDS, clock=time)
    line = bytearray()
    while b"\n" not in line:
        if len(line) > MAX_LINE or deadline.expired:
            return bytes(line[: MAX_LINE + 1]) if line else None
        connection.settimeout(max(deadline.remaining, 0.001))
        try:
            chunk = connection.recv(CHUNK)
        except TimeoutError:
            return None
        if not chunk:
            return bytes(line) or None
        line += chunk
    return bytes(line[: line.index(b"\n")])


def internal_error() -> bytes:
    """The answer to what we did not foresee: the details are in the log, not on the page."""
    message = "Something inside the appliance went wrong; it has been logged."
    return encode_error(HearthError(message, hint="try again, or restart the appliance"))


def check_text(request: Request) -> None:
    """JSON can spell half characters (lone surrogates), which no file can hold."""
    for item in dataclasses.fields(request):
        value = getattr(request, item.name)
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ConfigError(f"{item.name} has a broken character") from error
