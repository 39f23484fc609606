"""Which slot starts, how often it is tried, and which one has proved itself."""

from __future__ import annotations

from services.slots.engine import (
    SlotStatus,
    booted_disk,
    booted_slot,
    commit,
    give_back,
    give_one,
    mark_bad,
    mark_good,
    other_slot,
    recall,
    status,
    try_next,
)

__all__ = [
    "SlotStatus",
    "booted_disk",
    "booted_slot",
    "commit",
    "give_back",
    "give_one",
    "mark_bad",
    "mark_good",
    "other_slot",
    "recall",
    "status",
    "try_next",
]
