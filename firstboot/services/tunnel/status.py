"""What hearth-tunnel.service sees, for those who may not ask the kernel; in memory only.

Times are of the machine's own clock since its start (CLOCK_MONOTONIC), which is the same for all
processes and never set.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.errors import ConfigError
from appliance.paths import Paths
from appliance.tables import parse_table, to_table
from services.explanation import Explanation
from services.tunnel.diagnose import EXPLANATIONS, Diagnosis

# With something to carry, WireGuard shakes hands every two minutes; keys older than three are dead
# (WireGuard paper, section 6.1: REKEY_AFTER_TIME, REJECT_AFTER_TIME).
DEAD_SECONDS = 180.0
# Much longer than the pause between two looks: who looks has died, or the machine is very busy.
SILENT_SECONDS = 60.0
LOG = "look at: journalctl -u hearth-tunnel"


@dataclass(frozen=True, kw_only=True)
class TunnelStatus:
    """``server`` is as the owner wrote it, ``endpoint`` as WireGuard talks to it.

    ``shaken`` is when hands were shaken last, None for never; ``received`` and ``sent`` are bytes.

    ``problem`` is what kept the interface from coming up; ``diagnosis`` why nobody answers.
    """

    at: float
    server: str
    endpoint: str = ""
    shaken: float | None = None
    received: int = 0
    sent: int = 0
    problem: str = ""
    diagnosis: Diagnosis | None = None

    def age(self, now: float) -> float | None:
        """Seconds since the last handshake."""
        return None if self.shaken is None else max(0.0, now - self.shaken)

    def is_alive(self, now: float) -> bool:
        age = self.age(now)
        return age is not None and age < DEAD_SECONDS and now - self.at < SILENT_SECONDS

    def trouble(self, now: float) -> Explanation | None:
        """Why it is not alive; None as long as that is not known."""
        if self.problem:
            return Explanation(sentence=f"The tunnel is down: {self.problem}.", next_step=LOG)
        if now - self.at >= SILENT_SECONDS:
            sentence = f"Nobody has looked after the tunnel for {now - self.at:.0f} s."
            return Explanation(sentence=sentence, next_step=LOG)
        return EXPLANATIONS[self.diagnosis.cause] if self.diagnosis else None


def status_file(paths: Paths) -> Path:
    return paths.root / "run" / "hearth-tunnel" / "status.json"


def save_status(paths: Paths, status: TunnelStatus) -> None:
    write_atomic(status_file(paths), json.dumps(to_table(status)) + "\n", mode=0o644)


def load_status(paths: Paths) -> TunnelStatus | None:
    """None where nobody has looked in this life of the machine."""
    file = status_file(paths)
    try:
        return parse_table(TunnelStatus, json.loads(file.read_text()), where=file.name)
    except (OSError, ValueError, ConfigError):
        return None


def is_tunnel_alive(paths: Paths) -> bool:
    status = load_status(paths)
    return status is not None and status.is_alive(time.monotonic())
