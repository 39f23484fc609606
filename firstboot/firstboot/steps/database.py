"""PostgreSQL's cluster, started, with the homeserver's database in it."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.deadline import wait_until
from firstboot.steps.context import Context
from services import database


@dataclass(frozen=True)
class SetUpDatabase:
    name: str = "database"
    title: str = "Setting up the database"

    def is_done(self, context: Context) -> bool:
        paths = context.paths
        return (
            database.has_cluster(paths)
            and database.is_ready(paths)
            and database.has_database(paths, context.homeserver.user)
        )

    def apply(self, context: Context) -> None:
        paths = context.paths
        if not database.has_cluster(paths):
            context.report("PostgreSQL makes its files")
            database.ensure_cluster(paths)
        context.report("PostgreSQL is starting")
        context.units.start(database.UNIT)
        wait_until(
            lambda: database.is_ready(paths),
            seconds=context.start_seconds,
            what="PostgreSQL's first answer",
        )
        context.report("the homeserver gets its database")
        database.ensure_database(paths, context.homeserver.user)
