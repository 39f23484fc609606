"""One build's workspace: where things are, and nothing else that changes."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from imagebuild.recipe import Recipe


@dataclass(frozen=True)
class Context:
    """Recipe plus paths. ``cache`` outlives builds; ``work`` is this build's."""

    recipe: Recipe
    build: Path
    cache: Path

    @property
    def tools(self) -> Path:
        """The tools tree: Debian of the target's suite for the host's own architecture."""
        return self.cache / "tools"

    @property
    def debs(self) -> Path:
        return self.cache / "debs"

    @property
    def layers(self) -> Path:
        return self.cache / "layers"

    @property
    def work(self) -> Path:
        return self.build / "work"

    @property
    def logs(self) -> Path:
        return self.build / "logs"

    @property
    def name(self) -> str:
        return f"hearth-{self.recipe.version}-arm64"

    @property
    def raw_image(self) -> Path:
        return self.build / f"{self.name}.img"

    @property
    def compressed_image(self) -> Path:
        suffix = {"xz": ".xz", "zst": ".zst"}[self.recipe.profile.compression.format]
        return self.raw_image.with_name(self.raw_image.name + suffix)

    @property
    def lock(self) -> Path:
        return self.recipe.source / "image" / f"{self.recipe.profile_name}.lock"


def default_cache() -> Path:
    """~/.cache/hearth of the person who called sudo, or $HEARTH_CACHE."""
    if "HEARTH_CACHE" in os.environ:
        return Path(os.environ["HEARTH_CACHE"])
    home = Path(pwd.getpwnam(os.environ["SUDO_USER"]).pw_dir) if "SUDO_USER" in os.environ else None
    return (home or Path.home()) / ".cache" / "hearth"


def make_context(
    recipe: Recipe, *, build: Path | None = None, cache: Path | None = None
) -> Context:
    context = Context(recipe, build or recipe.source / "build", cache or default_cache())
    for path in (context.build, context.cache, context.debs, context.layers, context.logs):
        path.mkdir(parents=True, exist_ok=True)
    return context
