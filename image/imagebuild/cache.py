"""Layers: directories named by the hash of everything that went into them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from appliance.log import logger, progress

KEPT_GENERATIONS = 2


def hash_inputs(*parts: object) -> str:
    """A key over JSON-able values; order matters."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def hash_files(paths: Iterable[Path], *, base: Path) -> str:
    """A key over names, modes and contents of files and of all files below directories."""
    digest = hashlib.sha256()
    for path in sorted(_walk(paths)):
        mode = path.lstat().st_mode & 0o7777
        digest.update(f"{path.relative_to(base)}\0{mode:o}\0".encode())
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _walk(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            children = (c for c in path.iterdir() if c.name != "__pycache__")
            yield from _walk(children)
        else:
            yield path


def ensure_layer(
    layers: Path, name: str, key: str, make: Callable[[Path], None], *, title: str
) -> Path:
    """The layer's directory; made by ``make`` in a side directory and renamed when complete."""
    target = layers / f"{name}-{key[:16]}"
    if target.exists():
        logger.info("%s: unchanged", title)
        os.utime(target)
        return target
    partial = layers / f".{name}.partial"
    remove_tree(partial)
    partial.mkdir(parents=True)
    try:
        with progress(title):
            make(partial)
    except BaseException:
        remove_tree(partial)
        raise
    # Unpacking gives the directory itself a date from an archive: it would look old to _prune.
    os.utime(partial)
    partial.rename(target)
    _prune(layers, name)
    return target


def remove_tree(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _prune(layers: Path, name: str) -> None:
    made = sorted(layers.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in made[KEPT_GENERATIONS:]:
        remove_tree(old)
