"""The table at the end of a build: where the time and the space went."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance.run import run
from imagebuild.artifacts import Artifact, describe
from imagebuild.context import Context


class Summary:
    """Collects stage times (seconds) and sizes (bytes) while build_image() goes on."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []
        self.sizes: list[tuple[str, int]] = []
        self.artifacts: list[Artifact] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.stages.append((name, time.monotonic() - start))

    def add_layers(self, layers: Sequence[Path]) -> None:
        for layer in layers:
            self.sizes.append((layer.name.rpartition("-")[0], tree_size(layer)))

    def add_artifacts(self, artifacts: Sequence[Artifact]) -> None:
        self.artifacts.extend(artifacts)

    def say_unchanged(self, context: Context) -> None:
        self.artifacts.append(describe("image (unchanged)", context.compressed_image))

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.stages)

    def as_table(self) -> dict[str, object]:
        return {
            "seconds": {name: round(seconds, 1) for name, seconds in self.stages},
            "total_seconds": round(self.seconds, 1),
            "layer_bytes": dict(self.sizes),
            "artifacts": [
                {"kind": a.kind, "path": str(a.path), "size": a.size, "sha256": a.sha256}
                for a in self.artifacts
            ],
        }

    def render(self) -> str:
        """Text for people, widest column first."""
        lines = ["", "stage                          seconds"]
        lines += [f"  {name:<28} {seconds:7.1f}" for name, seconds in self.stages]
        lines += [
            f"  {'total':<28} {self.seconds:7.1f}",
            "",
            "what takes the space                MB",
        ]
        ordered = sorted(self.sizes, key=lambda row: -row[1])
        lines += [f"  {name:<28} {size / 1e6:7.1f}" for name, size in ordered]
        lines += ["", "artefacts                           MB  sha256"]
        for artifact in self.artifacts:
            size = artifact.size / 1e6
            lines.append(f"  {artifact.kind:<28} {size:7.1f}  {artifact.sha256[:16]}")
            lines.append(f"    {artifact.path}")
        return "\n".join(lines)


def tree_size(path: Path) -> int:
    """Bytes below a directory, as du counts them."""
    return int(run(["du", "--summarize", "--block-size=1", path]).stdout.split()[0])
