"""The certificate that nginx serves: made a while after the first start, renewed in good time.

Run by hearth-certificate.service: at boot, every day and whenever the clock jumps, because a Pi
without a clock may have issued it at a wrong date.
"""

from __future__ import annotations

import fcntl

from appliance.hostname import host_name
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import load_settings
from appliance.state import Phase, load_state
from services import proxy
from services.authority import certified_addresses, note_addresses
from services.authority_issue import (
    certificate_names,
    ensure_authority,
    ensure_device_certificate,
    ensure_issuer,
)
from services.configuration import ensure_pages
from services.mdns import ALIAS, own_name
from services.network import local_addresses
from services.units import Units


def local_names(paths: Paths) -> tuple[str, ...]:
    """The mDNS names under which the pages can be reached."""
    return tuple(dict.fromkeys([own_name() or f"{host_name(paths)}.local", ALIAS]))


def ensure_certificate(paths: Paths, *, final: bool) -> bool:
    """Whether a new certificate was written.

    ``final``: the server name is decided, so the root signs for it and its key is given up.
    """
    settings = load_settings(paths.settings)
    server_name = settings.server.name if settings and final else None
    # The timer's run and the provisioning may meet: two authorities would be one too many.
    with (paths.runtime / "certificate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        changed = ensure_authority(paths)
        if server_name is not None:
            changed = ensure_issuer(paths, server_name) or changed
        names = certificate_names(server_name, local_names(paths))
        addresses = local_addresses()
        is_new = ensure_device_certificate(paths, names, addresses)
        # One that will do may be good for more addresses than there are now.
        before = None if is_new else certified_addresses(paths)
        note_addresses(paths, frozenset(addresses) | (before or frozenset()))
        return is_new or changed


def renew_certificate(paths: Paths, units: Units) -> bool:
    """Issue or renew if need be and have nginx serve it; whether there was anything to do."""
    phase = load_state(paths.state).phase
    if phase is Phase.APPLYING:
        logger.info("setup is at work on the certificate; nothing to do")
        return False
    changed = ensure_certificate(paths, final=phase is Phase.READY)
    if phase is not Phase.READY and ensure_pages(paths, units):
        return True
    if changed and units.is_active(proxy.UNIT):
        units.reload(proxy.UNIT)
    return changed
