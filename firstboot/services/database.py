"""PostgreSQL 17: one cluster on the data partition, one role and database for the homeserver."""

from __future__ import annotations

import shutil
from pathlib import Path

from appliance.atomic import fsync_directory
from appliance.errors import CommandError, StateError
from appliance.paths import Paths
from appliance.run import Argument, run
from services.checkers import run_checker
from services.owners import as_user, ensure_directory
from services.render import Action, Template

UNIT = "hearth-postgresql.service"
USER = "postgres"
PROGRAMS = Path("/usr/lib/postgresql/17/bin")
INITDB_SECONDS = 900
QUERY_SECONDS = 120

TEMPLATES = tuple(
    Template(
        source=f"postgresql/{name}.j2",
        target=f"postgresql/{name}",
        group=USER,
        unit=UNIT,
        action=action,
    )
    for name, action in (
        ("postgresql.conf", Action.RESTART),
        ("pg_hba.conf", Action.RELOAD),
        ("pg_ident.conf", Action.RELOAD),
    )
)


def cluster(paths: Paths) -> Path:
    return paths.postgresql / "main"


def has_cluster(paths: Paths) -> bool:
    return (cluster(paths) / "PG_VERSION").exists()


def check(paths: Paths, config: Path) -> None:
    """postgres -C reads the whole file and names file and line of what it does not take."""
    directory = config / "postgresql"
    argv: list[Argument] = [PROGRAMS / "postgres", "-C", "max_connections", "-D", directory,
                            "-c", f"config_file={directory}/postgresql.conf"]  # fmt: skip
    run_checker("PostgreSQL", as_user(paths, USER, argv))


def ensure_cluster(paths: Paths) -> bool:
    """Make the cluster once; False when it was there.

    It is made beside its place and renamed, so a power cut leaves all of it or nothing.
    C locale: sorting does not change with the C library (PostgreSQL manual, 23.2), and Synapse
    asks for it. Checksums: a worn card is noticed.
    """
    if has_cluster(paths):
        return False
    if cluster(paths).exists() and any(cluster(paths).iterdir()):
        message = f"{cluster(paths)} is not empty but is no database"
        raise StateError(message, hint="look at it with an SSH login; nothing was overwritten")
    ensure_directory(paths, paths.postgresql.parent, user=USER, group=USER, mode=0o750)
    ensure_directory(paths, paths.postgresql, user=USER, group=USER, mode=0o750)
    unfinished = paths.postgresql / "main.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    argv: list[Argument] = [PROGRAMS / "initdb", "--pgdata", unfinished, "--encoding=UTF8",
                            "--locale=C", "--data-checksums", "--auth-local=peer",
                            "--auth-host=reject", "--username=postgres",
                            "--no-instructions"]  # fmt: skip
    run(as_user(paths, USER, argv), cwd=paths.postgresql, timeout=INITDB_SECONDS)
    if cluster(paths).exists():
        cluster(paths).rmdir()
    unfinished.rename(cluster(paths))
    fsync_directory(paths.postgresql)
    return True


def query(
    paths: Paths, sql: str, *, database: str = "postgres", seconds: float = QUERY_SECONDS
) -> str:
    """Run SQL as the superuser over the Unix socket; return the bare result."""
    argv: list[Argument] = [PROGRAMS / "psql", "--no-psqlrc", "--quiet", "--tuples-only",
                            "--no-align", "--set=ON_ERROR_STOP=1", "--username=postgres",
                            f"--dbname={database}",
                            f"--host={paths.root / 'run/postgresql'}"]  # fmt: skip
    return run(argv, input=sql, timeout=seconds).stdout.strip()


def is_ready(paths: Paths) -> bool:
    """Whether it answers a query now."""
    try:
        return query(paths, "SELECT 1") == "1"
    except CommandError:
        return False


def has_database(paths: Paths, name: str) -> bool:
    return query(paths, f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == "1"


def ensure_database(paths: Paths, name: str) -> bool:
    """A role without password (peer) and its database; False when both were there.

    ``name`` is one of our own constants, never what somebody typed.
    """
    if has_database(paths, name):
        return False
    query(
        paths,
        f"SELECT 'CREATE ROLE {name} LOGIN' WHERE NOT EXISTS "
        f"(SELECT FROM pg_roles WHERE rolname = '{name}') \\gexec\n",
    )
    make_database(paths, name, owner=name)
    return True


def make_database(paths: Paths, name: str, *, owner: str) -> None:
    """An empty database for a role that is there."""
    query(
        paths,
        f"CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';\n"
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;\n",
    )
