"""What a cause means to the owner."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One ``sentence``, and in ``next_step`` what to do about it."""

    sentence: str
    next_step: str
