"""What the UI may ask about a server that is set up; a part of ``appliance.protocol``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from appliance.answers import Done, Federation, File, Rescue

RESTORE_WORD = "restore"


@dataclass(frozen=True, kw_only=True)
class MakeRecoveryFile:
    """Settings and signing key, encrypted with ``passphrase``. Result: File."""

    session: str = field(repr=False)
    passphrase: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class GetFederation:
    """Whether other servers can talk to this one, as it was seen last. Result: Federation."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class StartFederationCheck:
    """Look at that now; GetFederation tells the finding. Result: Done."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class GetRescue:
    """Why nothing starts any more, with the last lines of the logs. Result: Rescue."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class TryAgain:
    """Leave rescue mode: give the slot its attempts back and restart. Result: Done."""

    session: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RestoreDatabase:
    """In rescue mode: restart into the version of before the update, with the database as that one
    left it. ``confirm`` must be RESTORE_WORD: every message since is lost. Result: Done.
    """

    session: str = field(repr=False)
    confirm: str


AftercareRequest = (
    MakeRecoveryFile | GetFederation | StartFederationCheck | GetRescue | TryAgain | RestoreDatabase
)
AFTERCARE_RESULTS: dict[type[Any], type[Any]] = {
    MakeRecoveryFile: File,
    GetFederation: Federation,
    StartFederationCheck: Done,
    GetRescue: Rescue,
    TryAgain: Done,
    RestoreDatabase: Done,
}
