"""The homeserver programs that an owner can choose from, behind one small Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from appliance.paths import Paths
from appliance.settings import Software
from services.homeserver.dendrite import Dendrite
from services.homeserver.schema import Schema
from services.homeserver.synapse import Synapse
from services.render import Template


class Homeserver(Protocol):
    """What differs between the programs; all the rest is in services.homeserver.api.

    ``user`` is system user, database role and database in one. ``lacks`` says in plain sentences
    what its users must do without. ``health_path`` answers 200 once it serves. ``state_table`` has
    the present state of all rooms: room_id, type, state_key and, of members, membership.
    ``one_time_keys`` is the table of keys that are never handed out twice. ``schema_query`` asks
    for the database's form (services.homeserver.schema). ``beside`` names the directories that only
    make sense together with the database.
    """

    @property
    def software(self) -> Software: ...

    @property
    def title(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def user(self) -> str: ...

    @property
    def templates(self) -> tuple[Template, ...]: ...

    @property
    def lacks(self) -> tuple[str, ...]: ...

    @property
    def health_path(self) -> str: ...

    @property
    def state_table(self) -> str: ...

    @property
    def one_time_keys(self) -> str: ...

    @property
    def schema_query(self) -> str: ...

    @property
    def beside(self) -> tuple[str, ...]: ...

    def directory(self, paths: Paths) -> Path:
        """Its own place on the data partition."""
        ...

    def signing_key(self, paths: Paths) -> Path:
        """The server's identity: made once, never again."""
        ...

    def socket(self, paths: Paths) -> Path:
        """The Unix socket that nginx talks to."""
        ...

    def make_signing_key(self, paths: Paths, target: Path) -> None:
        """Have the program's own tool write a new signing key to ``target``."""
        ...

    def check(self, paths: Paths, config: Path) -> None:
        """The program's own opinion of the files under ``config``. Raises CheckerError."""
        ...

    def version(self, paths: Paths) -> str:
        """The installed version, from the program's own files."""
        ...

    def schema(self, paths: Paths) -> Schema:
        """What the installed program makes of a database, as far as it can be known before."""
        ...


HOMESERVERS: tuple[Homeserver, ...] = (Synapse(), Dendrite())


def find_homeserver(software: Software) -> Homeserver:
    return next(entry for entry in HOMESERVERS if entry.software is software)
