"""The issues' bounds are for a machine with nothing else to do; what others take is allowed for."""

from __future__ import annotations

import os


def stretched(seconds: float) -> float:
    """``seconds``, times what runs beside us on each core."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
