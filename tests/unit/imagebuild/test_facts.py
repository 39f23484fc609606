"""What an image says of itself, read from sources in the form that their projects publish them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ImageError
from imagebuild.context import Context, make_context
from imagebuild.facts import SCHEMA, postgresql_major, release_facts, schema_versions
from imagebuild.packages import Package, PackageSet, load_lock
from imagebuild.recipe import SOURCE, make_recipe

LOCK = load_lock(SOURCE / "image/hearth.lock")
# The form of synapse/storage/schema/__init__.py in Synapse 1.163.
SYNAPSE = '''#
SCHEMA_VERSION = 94  # remember to update the list below when updating
"""Represents the expectations made by the codebase about the database schema

Changes in SCHEMA_VERSION = 95:
    - not yet
"""

SCHEMA_COMPAT_VERSION = (
    # Transitive links are no longer written to `event_auth_chain_links`
    84
)
OTHER: int = 3
"""Limit on how far the synapse codebase can be rolled back without breaking db compat"""
'''


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(make_recipe("hearth"), build=tmp_path / "b", cache=tmp_path / "c")


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    file = tmp_path / "synapse-0123" / SCHEMA
    file.parent.mkdir(parents=True)
    file.write_text(SYNAPSE)
    return tmp_path / "synapse-0123"


def test_the_facts_of_this_repository(context: Context, layer: Path) -> None:
    facts = release_facts(context, LOCK, [Path("kernel-1"), layer])
    assert facts.version == context.recipe.version
    assert set(facts.boards) >= {"rpi3", "rpi4", "rpi5", "rpi-zero2w"}
    assert (facts.synapse_schema, facts.synapse_compatible) == (94, 84)
    assert facts.synapse.startswith("1.")
    assert facts.dendrite.startswith("0.")
    assert facts.postgresql == 17
    assert facts.boot_interface == 1
    assert facts.compatible == "hearth-arm64"


@pytest.mark.parametrize(
    "text",
    ["", "SCHEMA_VERSION = 94\n", "SCHEMA_VERSION = '94'\nSCHEMA_COMPAT_VERSION = 84\n",
     "SCHEMA_VERSION = versions[-1]\nSCHEMA_COMPAT_VERSION = 84\n"],
)  # fmt: skip
def test_a_synapse_that_tells_its_schema_otherwise_stops_the_build(layer: Path, text: str) -> None:
    """A wrong number would let a roll-back start old code on a database that it cannot read."""
    (layer / SCHEMA).write_text(text)
    with pytest.raises(ImageError, match="SCHEMA"):
        schema_versions(layer / SCHEMA)


def test_annotated_constants_are_read(layer: Path) -> None:
    text = "SCHEMA_VERSION: Final = 94\nSCHEMA_COMPAT_VERSION: int = 84\nSCHEMA: str\n"
    (layer / SCHEMA).write_text(text)
    assert schema_versions(layer / SCHEMA) == (94, 84)


def with_packages(*names: str) -> PackageSet:
    rest = tuple(p for p in LOCK.root if not p.name.startswith("postgresql-"))
    made: list[Package] = [replace(LOCK.root[0], name=name) for name in names]
    return replace(LOCK, root=(*rest, *made))


@pytest.mark.parametrize(
    "names", [(), ("postgresql-17", "postgresql-18"), ("postgresql-client-17",)]
)
def test_there_is_one_database_server(names: tuple[str, ...]) -> None:
    with pytest.raises(ImageError, match="PostgreSQL"):
        postgresql_major(with_packages(*names))


def test_the_major_version_is_the_packages_name() -> None:
    names = ("postgresql-18", "postgresql-client-18", "postgresql-common")
    assert postgresql_major(with_packages(*names)) == 18
