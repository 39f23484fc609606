"""The interface itself: up, down and what it says, by wg-quick(8) and wg(8)."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import HearthError
from appliance.log import logger
from appliance.run import run
from services.tunnel.place import INTERFACE

# A name of the server is looked up, again and again, before wg-quick gives up.
UP_SECONDS, DOWN_SECONDS, ASK_SECONDS = 60, 30, 10
RETRIES = {"WG_ENDPOINT_RESOLUTION_RETRIES": "3"}
PEER_FIELDS = 8


@dataclass(frozen=True, kw_only=True)
class Look:
    """What wg(8) tells about the only peer.

    ``handshake`` is in seconds since the epoch, 0 when there was none; the counts are of bytes.
    """

    peer: str
    endpoint: str
    handshake: int
    received: int
    sent: int


def is_up() -> bool:
    return INTERFACE in (name for _, name in socket.if_nameindex())


def up(config: Path) -> None:
    """Raises HearthError with wg-quick's own words; then no interface is left behind."""
    if is_up():
        down(config)
    try:
        run(["wg-quick", "up", config], env=RETRIES, timeout=UP_SECONDS)
    except HearthError:
        # It takes its interface away itself, but not when it was killed for being late.
        if is_up():
            down(config)
        raise


def down(config: Path) -> None:
    """Nothing is up afterwards, whatever state it was in."""
    try:
        run(["wg-quick", "down", config], timeout=DOWN_SECONDS)
    except HearthError as error:
        logger.warning("%s", error.message)
        if is_up():
            run(["ip", "link", "delete", "dev", INTERFACE], timeout=DOWN_SECONDS)


def look() -> Look | None:
    """None where there is no interface."""
    result = run(["wg", "show", INTERFACE, "dump"], check=False, timeout=ASK_SECONDS)
    return parse_dump(result.stdout) if result.returncode == 0 else None


def parse_dump(text: str) -> Look | None:
    """wg(8), "show ... dump": the interface's line, then one a peer, separated by tabs."""
    for line in text.splitlines()[1:]:
        fields = line.split("\t")
        if len(fields) == PEER_FIELDS:
            peer, _, endpoint, _, handshake, received, sent, _ = fields
            return Look(
                peer=peer,
                endpoint="" if endpoint == "(none)" else endpoint,
                handshake=int(handshake),
                received=int(received),
                sent=int(sent),
            )
    return None


def point_at(peer: str, server: str, port: int) -> None:
    """A server named by name may have another address by now; wg(8) looks names up only once."""
    argv = ["wg", "set", INTERFACE, "peer", peer, "endpoint", f"{server}:{port}"]
    run(argv, env=RETRIES, timeout=UP_SECONDS)
