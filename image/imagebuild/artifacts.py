"""What is published: the compressed image, its block map and its checksums."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from appliance.run import run
from imagebuild.context import Context
from imagebuild.sandbox import inside


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Any build output; ``sha256`` in hex, ``size`` in bytes."""

    kind: str
    path: Path
    size: int
    sha256: str


def compress_image(context: Context, image: Path) -> Path:
    """The image compressed with all cores, in the recipe's format."""
    compression = context.recipe.profile.compression
    target = context.compressed_image
    level = f"-{compression.level}"
    argv = {
        "xz": ["xz", "--threads=0", level, "--force", "--keep", "--stdout"],
        "zst": ["zstd", "--threads=0", level, "--force", "--quiet", "--stdout", "--long=27"],
    }[compression.format]
    sandbox = inside(context.tools, binds=[(image.parent, "/mnt")], cwd="/mnt")
    partial = target.with_name(f"{target.name}.partial")
    script = f'{" ".join(argv)} "{image.name}" > "{partial.name}"'
    try:
        run([*sandbox, "sh", "-ec", script])
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def make_block_map(context: Context, image: Path) -> Path:
    """bmaptool's list of the blocks that hold data, each range with its hash."""
    target = image.with_suffix(".bmap")
    sandbox = inside(context.tools, binds=[(image.parent, "/mnt")], cwd="/mnt")
    run([*sandbox, "bmaptool", "-q", "create", "-o", f"/mnt/{target.name}", f"/mnt/{image.name}"])
    return target


def describe(kind: str, path: Path) -> Artifact:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Artifact(kind=kind, path=path, size=path.stat().st_size, sha256=digest)


def write_checksums(artifacts: list[Artifact], target: Path) -> None:
    """In the form that `sha256sum --check` reads."""
    target.write_text("".join(f"{item.sha256}  {item.path.name}\n" for item in artifacts))
