"""What the UI may ask about data as a whole: given up, put aside, used again.

A part of ``appliance.protocol``. All of them restart the appliance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from appliance.answers import Done

ERASE_WORD = "erase"
RESET_WORD = "reset"


@dataclass(frozen=True, kw_only=True)
class AdoptData:
    """Use the data of an earlier Hearth on this card; proved by its owner's password.

    Result: Done.
    """

    password: str = field(repr=False)
    source: str


@dataclass(frozen=True, kw_only=True)
class EraseData:
    """Give up the data of an earlier Hearth; ``confirm`` must be the typed word. Result: Done."""

    session: str = field(repr=False)
    confirm: str


@dataclass(frozen=True, kw_only=True)
class FactoryReset:
    """Begin anew; ``confirm`` must be RESET_WORD. With ``keep`` it can be undone for a day.

    Result: Done.
    """

    session: str = field(repr=False)
    confirm: str
    keep: bool


@dataclass(frozen=True, kw_only=True)
class BringBack:
    """Undo a factory reset that kept the data; proved by the owner's password of before it.

    ``session`` is needed as soon as somebody has claimed the appliance since. Result: Done.
    """

    password: str = field(repr=False)
    source: str
    session: str = field(default="", repr=False)


FateRequest = AdoptData | EraseData | FactoryReset | BringBack
FATE_RESULTS: dict[type[Any], type[Any]] = {
    AdoptData: Done,
    EraseData: Done,
    FactoryReset: Done,
    BringBack: Done,
}
