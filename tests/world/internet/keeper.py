"""A world that stays up for hands: a process in the background that holds it and takes orders.

``ci/world up`` starts it; it writes what is where to STATUS, listens on ORDERS, and takes the world
down when it is told to, or is terminated.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from appliance.atomic import write_atomic
from appliance.errors import HearthError
from world.internet.options import VARIANTS
from world.internet.places import OWNER_ZONE
from world.internet.world import World

DIRECTORY = Path("/run/hearth-world")
STATUS = DIRECTORY / "status.json"
ORDERS = DIRECTORY / "orders"
LOG = DIRECTORY / "keeper.log"


def order(words: list[str]) -> str:
    """Send an order to the keeper; its answer. OSError when there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(120)
        connection.connect(str(ORDERS))
        connection.sendall(json.dumps(words).encode() + b"\n")
        return connection.makefile().read()


def keep(variant: str) -> None:
    """Hold a world until the order ``down``."""
    signal.signal(signal.SIGTERM, _leave)
    shutil.rmtree(DIRECTORY / "state", ignore_errors=True)
    with World(DIRECTORY / "state", VARIANTS[variant]) as world:
        world.set_name(OWNER_ZONE, "A", world.address)
        ORDERS.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(ORDERS))
            ORDERS.chmod(0o600)
            listener.listen()
            _write_status(world, variant)
            while _serve(listener, world):
                _write_status(world, variant)
    STATUS.unlink()
    ORDERS.unlink()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _write_status(world: World, variant: str) -> None:
    lan = {name: world.lan_address(host) for name, host in world.hosts.items()
           if host in (world.lan, world.other)}  # fmt: skip
    status = {
        "pid": os.getpid(),
        "variant": variant,
        "address": world.address,
        "hosts": {name: host.pid for name, host in world.hosts.items()},
        "home": lan,
        "daemons": {name: host.daemons() for name, host in world.hosts.items()},
        "state": str(world.state),
    }
    write_atomic(STATUS, json.dumps(status))


def _serve(listener: socket.socket, world: World) -> bool:
    """Obey one order; false after the last."""
    connection, _ = listener.accept()
    with connection:
        words = json.loads(connection.makefile().readline() or "[]")
        if words == ["down"]:
            return False
        try:
            _obey(world, words)
            answer = "done"
        except HearthError as error:
            answer = f"error: {error.message}"
        connection.sendall(f"{answer}\n".encode())
    return True


def _obey(world: World, words: list[str]) -> None:
    orders: dict[str, Callable[[], None]] = {
        "reboot": world.reboot_router,
        "fail": world.fail_line,
        "mend": world.mend_line,
        "status": lambda: None,
    }
    match words:
        case ["address", address]:
            world.change_address(address)
        case [name] if name in orders:
            orders[name]()
        case _:
            raise HearthError(f"unknown order {' '.join(words)!r}")


if __name__ == "__main__":
    keep(sys.argv[1])
