"""Releases of this checkout, made and published as a builder would: keys, images, bundles, channel.

The root and the release key are made for the run, so what is tested is the release path: no
development key signs anything here.
"""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from imagebuild.build import build_image
from imagebuild.bundle import Signing, make_bundle, read_slot
from imagebuild.context import Context, make_context
from imagebuild.keys import init_root, new_release_key
from imagebuild.recipe import SOURCE, Compression, make_recipe
from imagebuild.summary import Summary

SOURCES = ("image", "firstboot", "setup-ui", "overlays")
KEY = "test"


@dataclass(frozen=True)
class Workshop:
    """``directory`` gets all; ``url`` is where appliances find the site."""

    directory: Path
    url: str

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def keyring(self) -> Path:
        return self.root / "keyring.pem"

    @property
    def site(self) -> Path:
        return self.directory / "site"

    @property
    def signing(self) -> Signing:
        return Signing(
            certificate=os.fspath(self.root / f"{KEY}.crt"),
            key=os.fspath(self.root / f"{KEY}.key"),
            keyring=self.keyring,
        )

    def open(self) -> None:
        """Keys, and a site with empty channels."""
        now = datetime.datetime.now(datetime.UTC)
        init_root(self.root, "Hearth test", now)
        new_release_key(self.root, KEY, now)
        self.hearth("release", "init", self.site, "--url", self.url, *self.keys())

    def keys(self) -> list[str]:
        signing = self.signing
        return ["--cert", signing.certificate, "--key", signing.key,
                "--keyring", os.fspath(signing.keyring)]  # fmt: skip

    def hearth(self, *argv: str | Path) -> str:
        """`hearth`, as in the documentation."""
        run = subprocess.run(
            [sys.executable, "-m", "imagebuild", *map(str, argv)],
            capture_output=True, text=True, check=False, timeout=600, env=environment(),
        )  # fmt: skip
        assert run.returncode == 0, f"hearth {' '.join(map(str, argv))}:\n{run.stderr}"
        return run.stdout

    def source(self, version: str) -> Path:
        """A copy of the sources, to be changed before ``build``."""
        copy = self.directory / f"source-{version}"
        for name in SOURCES:
            ignore = shutil.ignore_patterns("__pycache__", "*.lock.tmp")
            shutil.copytree(SOURCE / name, copy / name, symlinks=True, ignore=ignore)
        return copy

    def build(self, version: str, source: Path | None = None) -> Context:
        """A release image; the layers that did not change come from the cache."""
        recipe = make_recipe(
            "hearth", version=version, release=True, keyring=self.keyring, update_url=self.url,
            source=source or SOURCE,
        )  # fmt: skip
        # Nobody downloads it: the best compression would only cost time.
        quick = replace(recipe.profile, compression=Compression(format="zst", level=1))
        context = make_context(
            replace(recipe, profile=quick), build=self.directory / f"image-{version}"
        )
        build_image(context, Summary())
        return context

    def bundle(self, context: Context, notes: str = "") -> Path:
        target = self.directory / f"{context.name}.raucb"
        slot = read_slot(context, context.raw_image)
        make_bundle(context, slot, self.signing, notes, target, level=3)
        return target

    def publish(self, bundle: Path, *, channel: str = "stable", notes: str = "") -> None:
        words = self.directory / "notes.txt"
        words.write_text(notes or "What is new.\n")
        self.hearth("release", "publish", self.site, "--bundle", bundle, "--channel", channel,
                    "--notes", words, *self.keys())  # fmt: skip


def environment() -> dict[str, str]:
    path = [os.fspath(SOURCE / name) for name in ("image", "firstboot")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
