"""The system's time zone: a link that programs read when they start (localtime(5))."""

from __future__ import annotations

from pathlib import Path

from appliance.errors import ConfigError
from appliance.paths import Paths

ZONES = Path("/usr/share/zoneinfo")


def is_timezone(paths: Paths, name: str) -> bool:
    link = paths.root / "etc" / "localtime"
    return link.is_symlink() and link.readlink() == ZONES / name


def ensure_timezone(paths: Paths, name: str) -> bool:
    """Point /etc/localtime at the zone; False when it did already. Raises ConfigError."""
    if is_timezone(paths, name):
        return False
    if not (paths.root / (ZONES / name).relative_to("/")).is_file():
        hint = "choose another one: tzdata renames zones now and then"
        raise ConfigError(f"the system does not know the time zone {name!r}", hint=hint)
    new = paths.root / "etc" / ".localtime.new"
    new.unlink(missing_ok=True)
    new.symlink_to(ZONES / name)
    new.rename(paths.root / "etc" / "localtime")
    return True
