"""Which form a homeserver's database has, and which forms a program can read.

Synapse numbers its schema and says how far back its code may go: SCHEMA_VERSION and
SCHEMA_COMPAT_VERSION in synapse/storage/schema/__init__.py, the latter also in the database, where
a Synapse whose SCHEMA_VERSION is less refuses to start (Synapse's documentation, "Synapse database
schema files"). Dendrite only lists the migrations that were applied (table db_migrations,
internal/sqlutil/migrate.go): an older one reads what has none that it did not see itself.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import StateError

FIELDS = {"SCHEMA_VERSION": "version", "SCHEMA_COMPAT_VERSION": "compatible"}

# One line with version, compatible and migrations; nothing before the program's first start.
SYNAPSE_QUERY = """\
SELECT to_regclass('schema_compat_version') IS NOT NULL AS there \\gset
\\if :there
SELECT (SELECT version FROM schema_version) || '|' ||
       (SELECT compat_version FROM schema_compat_version) || '|';
\\endif
"""
DENDRITE_QUERY = """\
SELECT to_regclass('db_migrations') IS NOT NULL AS there \\gset
\\if :there
SELECT '0|0|' || coalesce(string_agg(replace(version, ',', ' '), ',' ORDER BY version), '')
FROM db_migrations;
\\endif
"""


@dataclass(frozen=True, kw_only=True)
class Schema:
    """``compatible``: the oldest ``version`` whose code can read it. Both are 0 for Dendrite."""

    version: int = 0
    compatible: int = 0
    migrations: tuple[str, ...] = ()


def parse_schema(line: str) -> Schema | None:
    """What a query above has answered; None for a database that was never used."""
    if not line:
        return None
    version, compatible, migrations = line.split("|", 2)
    names = tuple(name for name in migrations.split(",") if name)
    return Schema(version=int(version), compatible=int(compatible), migrations=names)


def code_schema(file: Path) -> Schema:
    """Synapse's two numbers from its source, without importing all of Synapse."""
    try:
        body = ast.parse(file.read_text()).body
    except (OSError, SyntaxError, ValueError) as error:
        raise StateError(f"cannot read {file}: {error}") from error
    found: dict[str, int] = {}
    for node in body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id in FIELDS and isinstance(node, ast.Assign):
            found[FIELDS[target.id]] = ast.literal_eval(node.value)
    if len(found) != len(FIELDS):
        raise StateError(f"{file} does not say {' and '.join(FIELDS)}")
    return Schema(version=found["version"], compatible=found["compatible"])
