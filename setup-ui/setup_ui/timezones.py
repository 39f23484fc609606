"""The time zones people choose from, grouped by region (tz database, zone.tab and tzdata.zi)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

ZONEINFO = Path("/usr/share/zoneinfo")
UTC = "Etc/UTC"


@dataclass(frozen=True, kw_only=True)
class Zone:
    """``aliases``: older names that a browser may report for the same zone (Asia/Calcutta)."""

    name: str
    city: str
    aliases: tuple[str, ...] = ()


@functools.cache
def load_zones(folder: Path = ZONEINFO) -> dict[str, tuple[Zone, ...]]:
    """Zones by region, each in the order of their cities."""
    aliases: dict[str, list[str]] = {}
    for line in _lines(folder / "tzdata.zi"):
        if line.startswith("L "):
            _, target, alias = line.split()
            aliases.setdefault(target, []).append(alias)
    names = {
        line.split("\t")[2].strip()
        for line in _lines(folder / "zone.tab")
        if line and not line.startswith("#")
    }
    regions: dict[str, list[Zone]] = {}
    for name in sorted(names):
        region, _, city = name.partition("/")
        shown = city.replace("_", " ").replace("/", ", ")
        known = tuple(alias for alias in aliases.get(name, ()) if alias not in names)
        regions.setdefault(region, []).append(Zone(name=name, city=shown, aliases=known))
    return {
        region: tuple(sorted(zones, key=lambda zone: zone.city))
        for region, zones in regions.items()
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
