"""What does not come from Debian: Synapse from PyPI, Dendrite from its Go module, a patch for RAUC.

Each is a layer of its own, laid at /usr/lib/hearth/NAME; what is fetched is pinned with hashes.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from appliance.errors import CommandError, NetworkError
from appliance.run import run
from imagebuild.cache import ensure_layer, hash_files, hash_inputs
from imagebuild.context import Context
from imagebuild.sandbox import inside

# glibc of Debian 13 is 2.41; PEP 600 names the oldest glibc that a wheel needs.
WHEEL_PLATFORM = "aarch64-manylinux_2_40"
# Test suites and sources for compilers: nothing on the device reads them. RECORD has the hashes
# of the programs in bin, whose first lines name a path of the build host.
UNUSED = ("bin", "RECORD", "tests", "test", "*.pyi", "*.pxd", "*.pyx", "*.c", "*.h", "include")
GENERATION = 2


def ensure_synapse(context: Context) -> Path:
    """Synapse's own site directory; wheels only, so nothing is compiled."""
    lock = context.recipe.source / "image/profiles" / context.recipe.profile.synapse.lock
    python = context.recipe.profile.synapse.python
    key = hash_inputs(GENERATION, hash_files([lock], base=lock.parent), WHEEL_PLATFORM, python)
    return ensure_layer(
        context.layers,
        "synapse",
        key,
        lambda target: _install_synapse(context, target, lock, python),
        title="Installing Synapse's wheels",
    )


def _install_synapse(context: Context, target: Path, lock: Path, python: str) -> None:
    site = target / "usr/lib/hearth/synapse"
    site.mkdir(parents=True)
    uv = Path(sys.prefix) / "bin/uv"
    result = run(
        [uv, "pip", "install", "--no-config", "--python-version", python,
         "--python-platform", WHEEL_PLATFORM, "--only-binary", ":all:", "--require-hashes",
         "--no-deps", "--link-mode", "copy", "--target", site, "-r", lock],
        env={"UV_CACHE_DIR": os.fspath(context.cache / "uv"), **_index_environment()},
        check=False,
    )  # fmt: skip
    if result.returncode != 0:
        message = f"Synapse's wheels could not be installed:\n{result.stderr.strip()[-600:]}"
        raise NetworkError(message, hint="is PyPI reachable? `hearth lock` renews the versions")
    for pattern in UNUSED:
        for path in list(site.rglob(pattern)):
            if path.exists() and not path.is_symlink() and "synapse/static" not in path.as_posix():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    (site / ".lock").unlink(missing_ok=True)
    compile_python(context, target, ["/target/usr/lib/hearth/synapse"])


def _index_environment() -> dict[str, str]:
    """uv does not read pip's configuration; hand over an index that the person chose there."""
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "SSL_CERT_FILE")
    found = {name: os.environ[name] for name in names if name in os.environ}
    if "PIP_INDEX_URL" in found:
        found.setdefault("UV_DEFAULT_INDEX", found.pop("PIP_INDEX_URL"))
    return found


def compile_python(context: Context, root: Path, directories: list[str]) -> None:
    """Byte-compile natively: the tools tree has the device's own Python version.

    Hash-based pycs (PEP 552, unchecked) are the same on every build and need no mtime.
    """
    sandbox = inside(context.tools, binds=[(root, "/target")])
    run(
        [*sandbox, "python3", "-m", "compileall", "-q", "-j", "0", "-s", "/target",
         "--invalidation-mode", "unchecked-hash", *directories],
        check=False,
    )  # fmt: skip


def ensure_dendrite(context: Context) -> Path:
    """Dendrite cross-compiled without cgo, from its Go module at go.mod's version."""
    dendrite = context.recipe.profile.dendrite
    directory = context.recipe.source / "image/profiles" / dendrite.directory
    key = hash_inputs(GENERATION, hash_files([directory], base=directory), dendrite.commands)
    return ensure_layer(
        context.layers,
        "dendrite",
        key,
        lambda target: _build_dendrite(context, target, directory),
        title="Building Dendrite",
    )


def _build_dendrite(context: Context, target: Path, directory: Path) -> None:
    output = target / "usr/lib/hearth/dendrite"
    output.mkdir(parents=True)
    compile_dendrite(context, output, directory, context.recipe.profile.architecture)


def compile_dendrite(context: Context, output: Path, directory: Path, architecture: str) -> None:
    """The profile's commands; ``directory`` holds go.mod and go.sum."""
    dendrite = context.recipe.profile.dendrite
    commands = [f"{dendrite.module}/cmd/{name}" for name in dendrite.commands]
    compile_go(context, "dendrite", output, directory, commands, architecture)


def compile_go(
    context: Context,
    name: str,
    output: Path,
    directory: Path,
    commands: list[str],
    architecture: str,
) -> None:
    """Programs of the module in ``directory`` by the tools tree's Go; ``name`` is the log's."""
    for place in ("go-build", "go-path"):
        (context.cache / place).mkdir(exist_ok=True)
    sandbox = inside(
        context.tools,
        binds=[(context.cache / "go-build", "/srv"), (context.cache / "go-path", "/mnt"),
               (output, "/opt")],
        read_only=[(directory, "/media")],
        network=True,
        cwd="/media",
        env={
            "GOCACHE": "/srv", "GOPATH": "/mnt", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0",
            "GOARCH": architecture, "GOTOOLCHAIN": "local",
            **{key: os.environ[key] for key in ("GOPROXY", "GONOSUMDB") if key in os.environ},
        },
    )  # fmt: skip
    argv = ["go", "build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", "/opt/", *commands]
    log = context.logs / f"{name}.log"
    with log.open("w") as file:
        result = run([*sandbox, *argv], log=file, check=False)
    if result.returncode != 0:
        message = f"{name} could not be built:\n{log.read_text()[-600:].strip()}"
        raise CommandError(message, hint=f"the whole log is {log}")


def ensure_rauc_patch(context: Context) -> Path:
    """What verity_status.c says: RAUC's service loads it until Debian's understands the kernel."""
    directory = context.recipe.source / "image/profiles/rauc"
    key = hash_inputs(GENERATION, hash_files([directory], base=directory))
    return ensure_layer(
        context.layers,
        "rauc-patch",
        key,
        lambda target: _build_rauc_patch(context, target, directory),
        title="Compiling the patch for RAUC",
    )


def _build_rauc_patch(context: Context, target: Path, directory: Path) -> None:
    output = target / "usr/lib/hearth/rauc"
    output.mkdir(parents=True)
    sandbox = inside(context.tools, binds=[(output, "/opt")], read_only=[(directory, "/media")])
    flags = ["-std=c17", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-s"]
    flags += ["-Wl,-z,relro,-z,now", "-Wl,--build-id=none"]
    run(
        [*sandbox, "aarch64-linux-gnu-gcc", *flags,
         "-o", "/opt/verity_status.so", "/media/verity_status.c"]
    )  # fmt: skip
