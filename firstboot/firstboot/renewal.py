"""A new certificate as soon as the home network gives an address that the present one lacks.

The agent only asks for it; hearth-certificate.service does the signing, and leaves a note of the
addresses that it signed for (services.authority). Before the first certificate is there, and while
setup makes its own, nothing is asked for.
"""

from __future__ import annotations

import time

from appliance.deadline import Clock
from appliance.errors import HearthError
from appliance.log import logger
from appliance.paths import Paths
from appliance.state import Phase
from firstboot.host import Host
from services.authority import certified_addresses

# A router that keeps announcing new prefixes must not wear the card.
PAUSE_SECONDS = 60.0


class Renewal:
    """Asks once for every new pair of missing and certified addresses."""

    def __init__(self, paths: Paths, host: Host, *, clock: Clock = time) -> None:
        self._paths = paths
        self._host = host
        self._clock = clock
        self._asked_for: object = None
        self._not_before = 0.0
        self._is_due = False

    def wait_seconds(self) -> float | None:
        """Until a request that was put off is due; None when there is none."""
        return max(0.0, self._not_before - self._clock.monotonic()) if self._is_due else None

    def look(self, addresses: tuple[str, ...], phase: Phase) -> None:
        self._is_due = False
        certified = certified_addresses(self._paths)
        if certified is None or phase is Phase.APPLYING:
            return
        missing = frozenset(addresses) - certified
        if not missing or (missing, certified) == self._asked_for:
            return
        if self._clock.monotonic() < self._not_before:
            self._is_due = True
            return
        self._ask(missing, certified)

    def _ask(self, missing: frozenset[str], certified: frozenset[str]) -> None:
        self._not_before = self._clock.monotonic() + PAUSE_SECONDS
        logger.info("new addresses %s: asking for a certificate", ", ".join(sorted(missing)))
        try:
            self._host.renew_certificate()
        except HearthError as error:
            logger.warning("the certificate cannot be renewed now: %s", error.message)
            self._is_due = True
            return
        self._asked_for = (missing, certified)
