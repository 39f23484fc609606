"""How much memory each part may have, by the board's memory: one table, and what follows from it.

All sizes are MiB, which is what systemd, PostgreSQL, Synapse and Go mean by "M". Where the figures
come from is in docs/memory.md: what was measured, and what is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from appliance.errors import StateError
from appliance.paths import Paths
from appliance.settings import RamClass, Settings, Software

KIB_IN_MIB = 1024
# A board shows less than it is sold with: the GPU's share and the kernel are gone before. Of the
# next smaller size it shows at most the whole, so three quarters lie between: a board of 3 GB
# counts as one of 2 GB.
SHOWN = 0.75
# Besides the homeserver's pool: three for the superuser, the checks, a dump, upkeep, two bridges.
OTHER_CONNECTIONS = 10

Row = tuple[Any, Any, Any, Any, Any]

#                       512 MB   1 GB   2 GB   4 GB   8 GB
NOMINAL: Row =          (  512,  1024,  2048,  4096,  8192)  # fmt: skip
BUDGET: dict[str, Row] = {
    "base":             (   95,   120,   140,   170,   200),
    "pages":            (   65,    70,    70,    80,    80),
    "nginx":            (   12,    14,    20,    30,    40),
    "postgresql":       (   64,   110,   230,   600,  1200),
    "homeserver":       (  110,   360,   780,  1700,  3600),
    "bridges":          (    0,    64,   128,   256,   512),
    "headroom":         (   66,   160,   300,   740,  2000),
}  # fmt: skip
# Held by a stranger, a connection over TLS costs 38 kB (measured: 4,000 of them, 149 MiB).
CONNECTIONS: Row =      (  600,  1500,  3000,  4096,  4096)  # fmt: skip
POSTGRESQL: dict[str, Row] = {
    "shared_buffers":   (   16,    48,   128,   384,   768),
    "effective_cache":  (   96,   170,   330,   800,  1600),
    "work_mem":         (    1,     2,     4,     8,    16),
    "maintenance":      (   16,    32,    64,   128,   256),
    "max_wal":          (  128,   256,   512,  1024,  2048),
    "min_wal":          (   48,    80,    80,   160,   160),
    "checkpoint_min":   (   15,    15,    30,    30,    30),
}  # fmt: skip
# The wizard offers Synapse from 1 GB on. The first column is for a card that has been moved.
SYNAPSE: dict[str, Row] = {
    "event_cache":      ("2K",   "5K",  "10K",  "15K",  "30K"),
    "cache_factor":     ( 0.2,    0.5,    1.0,    2.0,    5.0),
    "cache_ttl":        ("5m",  "10m",  "20m",  "30m",  "30m"),
    "heap_most":        ( 136,    240,    600,   1350,   2900),
    "heap_target":      ( 128,    190,    480,   1100,   2400),
    "heap_min_ttl":     ("30s", "30s",  "30s",   "1m",   "5m"),
    "sync_cache":       ("10s", "30s",   "1m",   "2m",   "2m"),
    "complexity":       ( 0.5,    1.0,    3.0,   10.0,   50.0),
    "admins_join_any":  (False, False,  False,   True,   True),
    "media_days":       (   7,     14,     30,     90,    180),
    "image_pixels":     ("8M",  "16M",  "32M",  "32M",  "32M"),
    "forgotten_days":   (   7,      7,      7,     28,     28),
    "remote_joins":     (   2,      3,     10,     10,     10),
    "client_timeout":   ("180s","180s","180s", "120s",  "60s"),
    "background_sleep": (3000,   3000,   2000,   1000,   1000),
    "connections":      (   4,      5,      6,     10,     10),
}  # fmt: skip
DENDRITE: dict[str, Row] = {
    "cache":            (   16,    64,   128,   384,  1024),
    "cache_age":        ( "5m", "10m", "20m",  "1h",  "1h"),
    "go_limit":         (   90,   300,   660,  1450,  3100),
    "go_gc":            (   50,    50,    75,   100,   100),
    "thumbnailers":     (    1,     2,     4,     4,     8),
    "connections":      (    8,     8,    11,    16,    20),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What each part may use. ``base`` is the kernel and systemd's own; ``pages`` is gunicorn and
    the agent; ``headroom`` the page cache and what nobody thought of.
    """

    base: int
    pages: int
    nginx: int
    postgresql: int
    homeserver: int
    bridges: int
    headroom: int

    @property
    def total(self) -> int:
        return sum(vars(self).values())

    @property
    def homeserver_most(self) -> int:
        """Where the homeserver is ended: past its share, and past half of what is nobody's."""
        return self.homeserver + self.headroom // 2

    @property
    def homeserver_swap(self) -> int:
        """How much of it may go to compressed memory: enough for what it never looks at again."""
        return self.homeserver // 3


@dataclass(frozen=True, kw_only=True)
class Size:
    """One column of the tables, as the templates use it; ``connections`` are nginx's."""

    ram: RamClass
    nominal: int
    budget: Budget
    connections: int
    postgresql: dict[str, Any]
    synapse: dict[str, Any]
    dendrite: dict[str, Any]

    def database_connections(self, software: Software) -> int:
        """How many PostgreSQL must allow for a homeserver with its whole pool in use."""
        pools = {Software.SYNAPSE: self.synapse, Software.DENDRITE: self.dendrite}
        return int(pools[software]["connections"]) + OTHER_CONNECTIONS


def _column(table: dict[str, Row], number: int) -> dict[str, Any]:
    return {name: row[number] for name, row in table.items()}


SIZES = tuple(
    Size(
        ram=ram,
        nominal=NOMINAL[number],
        budget=Budget(**_column(BUDGET, number)),
        connections=CONNECTIONS[number],
        postgresql=_column(POSTGRESQL, number),
        synapse=_column(SYNAPSE, number),
        dendrite=_column(DENDRITE, number),
    )
    for number, ram in enumerate(RamClass)
)


def load_memory(paths: Paths) -> int:
    """What the kernel has, in MiB. Raises StateError when it does not say."""
    file = paths.root / "proc" / "meminfo"
    try:
        for line in file.read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) // KIB_IN_MIB
    except (OSError, ValueError, IndexError) as error:
        raise StateError(f"cannot read {file}: {error}") from error
    raise StateError(f"{file} does not say how much memory there is")


def find_size(memory: int) -> Size:
    """The largest that a board with so many MiB counts as; the smallest for anything smaller."""
    return next((size for size in reversed(SIZES) if memory >= SHOWN * size.nominal), SIZES[0])


def choose_size(paths: Paths, settings: Settings | None) -> Size:
    """By the owner's settings, where they say; else by the memory that there is."""
    if settings is not None and settings.device.memory is not None:
        wanted = settings.device.memory
        return next(size for size in SIZES if size.ram is wanted)
    return find_size(load_memory(paths))


def find_excess(paths: Paths, settings: Settings) -> str:
    """What is wrong with how this appliance is sized, in a sentence; empty for nothing."""
    memory = load_memory(paths)
    fitting, chosen = find_size(memory), choose_size(paths, settings)
    if chosen.nominal > fitting.nominal:
        return (
            f"The settings size this appliance for {chosen.ram.label}, and it has {memory} MB:"
            " it will run out of memory."
        )
    if reason := refuse_software(fitting, settings.server.software):
        return f"{reason} This board has {memory} MB."
    return ""


def refuse_software(size: Size, software: Software) -> str:
    """Why a homeserver is not offered on such a board; empty when it is."""
    if software is Software.SYNAPSE and size.ram is RamClass.MB512:
        return "Synapse needs a board with 1 GB of memory or more."
    return ""


def refuse_public(size: Size) -> str:
    """Why such a board stays at home: a single large room of the world's would fill it, and
    Dendrite has no limit for what may be joined.
    """
    if size.ram is RamClass.MB512:
        return "The whole Matrix network needs a board with 1 GB of memory or more."
    return ""
