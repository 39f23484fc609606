"""``hearth-neighbours.service``: who counts as a stranger over IPv6, whenever our networks change.

For every appliance, also one that is set up for the home only or not yet: a router may have no
firewall for IPv6. hearth-strangers.service refuses all of them from the machine's start on.
"""

from __future__ import annotations

from appliance.paths import Paths
from appliance.settings import load_settings
from services.redirect import keep_redirect
from services.ways import is_served


def keep_strangers_out(paths: Paths) -> int:
    """The same rules as hearth-portmap.service sets. Raises CommandError."""
    settings = load_settings(paths.settings)
    keep_redirect(wanted=is_served(settings.public if settings else None))
    return 0
