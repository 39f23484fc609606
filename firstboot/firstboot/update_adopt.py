"""``hearthctl update adopt``: take over what a fleet's server had RAUC install (docs/fleet.md)."""

from __future__ import annotations

import time

from appliance.paths import Paths
from appliance.update import UpdateState


def adopt(paths: Paths, *, dry_run: bool) -> UpdateState | None:
    """The state, INSTALLED; None when nothing waits. Raises HearthError."""
    from services.update.adopt import Adopter
    from services.update.lock import update_lock

    with update_lock(paths):
        adopter = Adopter(paths=paths)
        return adopter.find(time.time()) if dry_run else adopter.adopt(time.time())
