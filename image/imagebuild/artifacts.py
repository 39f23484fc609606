"""What is published: the compressed image, its block map and its checksums."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.run import failed_command, run, spawn
from imagebuild.context import Context
from imagebuild.sandbox import inside
from imagebuild.sparse import write_all


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
        "xz": ["xz", "--threads=0", level, "--stdout"],
        "zst": ["zstd", "--threads=0", level, "--quiet", "--stdout"],
    }[compression.format]
    partial = target.with_name(f"{target.name}.partial")
    try:
        with partial.open("wb") as file:
            _through([*inside(context.tools), *argv], image, file)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _through(argv: list[str], source: Path, target: BinaryIO) -> None:
    """``source`` as the standard input of a program, its standard output to ``target``."""
    read_end, write_end = os.pipe()
    with tempfile.TemporaryFile("w+") as errors:
        try:
            process = spawn(argv, input=read_end, output=target.fileno(), errors=errors)
        finally:
            os.close(read_end)
        # When it ends early, its exit code says more than the broken pipe.
        with suppress(BrokenPipeError), os.fdopen(write_end, "wb") as pipe:
            write_all(source, pipe)
        if process.wait() != 0:
            errors.seek(0)
            raise failed_command(argv, process.returncode, None, errors.read())


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
