"""PostgreSQL and the homeserver's database in it, by a query."""

from __future__ import annotations

from dataclasses import dataclass

from services import database
from services.health.result import CheckResult, Examination, failed, passed

TABLES = "SELECT count(*) FROM pg_stat_user_tables"
SIZE = "SELECT pg_size_pretty(pg_database_size(current_database()))"


@dataclass(frozen=True)
class DatabaseCheck:
    name: str = "database"
    title: str = "Database"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        paths, name = examination.paths, examination.homeserver.user
        if not database.has_cluster(paths):
            hint = "restore it from a backup; an empty one is never made in its place"
            return failed(f"there is no database in {database.cluster(paths)}", hint)
        if not database.is_ready(paths):
            log = examination.units.log_tail(database.UNIT)
            return failed(f"PostgreSQL does not answer\n{log}".strip(), f"restart {database.UNIT}")
        tables = database.query(paths, TABLES, database=name)
        if tables == "0":
            return failed(f"the database {name!r} is empty", "restore it from a backup")
        size = database.query(paths, SIZE, database=name)
        return passed(f"{name} has {tables} tables, {size}")
