"""What the wizard is told from outside: where things are and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.paths import Paths


@dataclass(frozen=True, kw_only=True)
class UiConfig:
    """``connect_seconds`` bridges a restart of the agent, ``reply_seconds`` a slow answer."""

    paths: Paths = field(default_factory=Paths)
    connect_seconds: float = 5.0
    reply_seconds: float = 45.0  # less than nginx waits for us
    max_request: int = 16 * 1024
