"""What this image says of itself as a release, read from what is really in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import ImageError
from appliance.release import ReleaseFacts
from imagebuild.context import Context
from imagebuild.packages import PackageSet

SCHEMA = Path("usr/lib/hearth/synapse/synapse/storage/schema/__init__.py")
LOCKED = re.compile(r"^matrix-synapse(?:\[[^]]*])?==([^\s\\;]+)", re.MULTILINE)
INTERFACE = re.compile(r"^setenv hearth_interface (\d+)$", re.MULTILINE)


def release_facts(context: Context, packages: PackageSet, layers: Sequence[Path]) -> ReleaseFacts:
    """``layers`` as of a build, the one with Synapse among them. Raises ImageError."""
    recipe = context.recipe
    synapse = next(layer for layer in layers if layer.name.startswith("synapse-"))
    schema, compatible = schema_versions(synapse / SCHEMA)
    return ReleaseFacts(
        version=recipe.version,
        boards=tuple(board.name for board in recipe.boards),
        minimum=recipe.profile.minimum,
        boot_interface=boot_interface(recipe.source / "image/boot/boot.cmd"),
        postgresql=postgresql_major(packages),
        synapse=_find(LOCKED, recipe.source / "image/profiles" / recipe.profile.synapse.lock),
        synapse_schema=schema,
        synapse_compatible=compatible,
        dendrite=dendrite_version(context),
    )


def schema_versions(file: Path) -> tuple[int, int]:
    """SCHEMA_VERSION and SCHEMA_COMPAT_VERSION as Synapse's own source has them.

    Read and not run: it is code of another Python, with imports of its own.
    """
    found: dict[str, int] = {}
    for node in ast.parse(file.read_text()).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        value = getattr(node, "value", None)
        number = value.value if isinstance(value, ast.Constant) else None
        if isinstance(target, ast.Name) and isinstance(number, int):
            found[target.id] = number
    try:
        return found["SCHEMA_VERSION"], found["SCHEMA_COMPAT_VERSION"]
    except KeyError as error:
        message = f"Synapse's {file.name} has no number {error}: {file}"
        raise ImageError(message, hint="has Synapse changed how it tells its schema?") from error


def boot_interface(script: Path) -> int:
    """The version of what boot.scr and a slot's slot.scr say to each other."""
    return int(_find(INTERFACE, script))


def postgresql_major(packages: PackageSet) -> int:
    names = [package.name for package in packages.root]
    found = [match.group(1) for name in names if (match := re.fullmatch(r"postgresql-(\d+)", name))]
    if len(found) != 1:
        message = f"the image has {len(found)} PostgreSQL servers, and an update must know the one"
        raise ImageError(message, hint="name one of them in the profile's packages")
    return int(found[0])


def dendrite_version(context: Context) -> str:
    dendrite = context.recipe.profile.dendrite
    module = context.recipe.source / "image/profiles" / dendrite.directory / "go.mod"
    required = rf"^\s*(?:require\s+)?{re.escape(dendrite.module)} v(\S+)"
    return _find(re.compile(required, re.MULTILINE), module)


def _find(pattern: re.Pattern[str], file: Path) -> str:
    match = pattern.search(file.read_text())
    if match is None:
        message = f"{file} does not tell its version"
        raise ImageError(message, hint=f"a line like {pattern.pattern} is missing")
    return match.group(1)
