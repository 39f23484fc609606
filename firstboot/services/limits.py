"""The cages' sizes: how much memory the homeserver and the database may take, told to systemd.

``systemctl set-property --runtime`` changes a unit as it stands, loaded or not, running or not, so
nothing has to be restarted for it, and the manager need not read all its files again (a second or
more on a small board, at every start). What was told lies in /run, like what systemd makes of it.

The homeserver has a hard limit (systemd.resource-control(5), MemoryMax): past it, it is ended and
started anew, and nothing else notices. It has no MemoryHigh, which would let a program that leaks
crawl for an hour before its end. PostgreSQL has the soft one only: its page cache gives way first,
and a database is never ended for a large query. What does not depend on the board (the agent, the
pages) has its limits in the unit files. nginx has none: the number of its connections is limited by
the board instead (services.sizing), and what members upload passes through its memory for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.log import progress
from appliance.paths import Paths
from services import database
from services.homeserver import Homeserver
from services.sizing import Size
from services.units import Units


@dataclass(frozen=True, kw_only=True)
class Limit:
    """``properties`` as systemctl takes them: NAME=VALUE."""

    unit: str
    properties: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(f"{one}\n" for one in self.properties)


def find_limits(size: Size, homeserver: Homeserver | None) -> tuple[Limit, ...]:
    """What a board of this size allows."""
    if homeserver is None:
        return ()
    budget = size.budget
    most = (f"MemoryMax={budget.homeserver_most}M", f"MemorySwapMax={budget.homeserver_swap}M")
    return (
        Limit(unit=homeserver.unit, properties=most),
        # Twice its share: what is more than the share is the page cache of its files.
        Limit(unit=database.UNIT, properties=(f"MemoryHigh={2 * budget.postgresql}M",)),
    )


def find_changed(paths: Paths, limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """Those that systemd was not told since the machine started."""
    return tuple(one for one in limits if _told(paths, one) != one.text)


def set_limits(paths: Paths, units: Units, limits: Sequence[Limit]) -> tuple[str, ...]:
    """Tell systemd what it does not know yet; what was done, in words."""
    changed = find_changed(paths, limits)
    for one in changed:
        with progress(f"Limiting the memory of {one.unit}"):
            units.set_properties(one.unit, one.properties)
        file = _file(paths, one)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, one.text)
    return tuple(f"limit {one.unit}" for one in changed)


def _told(paths: Paths, limit: Limit) -> str:
    try:
        return _file(paths, limit).read_text()
    except FileNotFoundError:
        return ""


def _file(paths: Paths, limit: Limit) -> Path:
    return paths.runtime / "limits" / limit.unit
