"""How far setup has come: state.json, written by the agent, read by the progress page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.errors import ConfigError
from appliance.tables import parse_table, to_table

VERSION = 1


class Phase(StrEnum):
    """The appliance's life, in order."""

    UNCLAIMED = "unclaimed"
    SETUP = "setup"
    APPLYING = "applying"
    FAILED = "failed"
    READY = "ready"


class StepState(StrEnum):
    """``later``: not possible yet for a reason outside; setup goes on, and it is tried again."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    LATER = "later"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class StepStatus:
    """One provisioning step; times are seconds since the epoch, 0 when not yet."""

    name: str
    title: str
    state: StepState = StepState.PENDING
    started: float = 0.0
    ended: float = 0.0
    detail: str = ""
    error: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class State:
    version: int = VERSION
    phase: Phase = Phase.UNCLAIMED
    steps: tuple[StepStatus, ...] = ()


def load_state(path: Path) -> State:
    """The state; the initial one where there is no file yet. Raises ConfigError when damaged."""
    if not path.exists():
        return State()
    try:
        table = json.loads(path.read_text())
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise ConfigError(message, hint="the card may be worn out") from error
    except ValueError as error:
        message = f"{path} is not JSON: {error}"
        raise ConfigError(message) from error
    return parse_table(State, table, where=path.name)


def save_state(state: State, path: Path, *, owner: tuple[int, int] | None = None) -> None:
    text = json.dumps(to_table(state), indent=1) + "\n"
    write_atomic(path, text, mode=0o640, owner=owner)
