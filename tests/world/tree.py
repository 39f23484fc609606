"""A Debian 13 tree of the host's own architecture with the device's packages and homeservers.

Made once per set of inputs under ~/.cache/hearth/world, in about two minutes; the device's own
code is not in it but bound over it (sandbox.py).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from appliance.errors import MissingToolError, PrivilegeError
from imagebuild.context import make_context
from imagebuild.host import debian_architecture, find_mirrors, source_lines
from imagebuild.programs import compile_dendrite
from imagebuild.recipe import make_recipe
from imagebuild.tools import ensure_tools

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("HEARTH_CACHE", Path.home() / ".cache" / "hearth")) / "world"
GENERATION = 1
NEEDED = {"mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap", "ip": "iproute2"}
TREE_SECONDS = 900
SYNAPSE_FALLBACK = "1.163.2"
DENDRITE = "github.com/element-hq/dendrite"
DENDRITE_FALLBACK = "v0.15.2"
PYTHON_PACKAGES = ("appliance", "services", "firstboot", "setup_ui")
# Tests look at certificates; and the host's kernel may lack WireGuard, which wg-quick makes up for.
ADDED = {"openssl", "wireguard-go"}
# Kernel, boot and hardware are the VM's business.
LEFT_OUT = {"openssh-server", "openssh-sftp-server", "avahi-daemon", "e2fsprogs", "dosfstools"}


def ensure_tree() -> Path:
    """The path of the tree. Raises where the host cannot make one; a test never skips for it."""
    require_host()
    profile = tomllib.loads((REPOSITORY / "image/profiles/hearth.toml").read_text())
    packages = sorted({*profile["packages"], *ADDED} - LEFT_OUT)
    inputs = [GENERATION, packages, _synapse_version(), _dendrite_version(), profile["suite"]]
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
    tree = CACHE / key
    CACHE.mkdir(parents=True, exist_ok=True)
    # Two test runs may want the tree at once.
    with (CACHE / "tree.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            _make(tree, profile["suite"], packages)
    return tree


def require_host() -> None:
    """What makes trees and namespaces."""
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            message = f"{program} is not installed"
            raise MissingToolError(message, hint=f"ci/setup test, or apt-get install {package}")
    if os.geteuid() != 0:
        raise PrivilegeError("namespaces need root", hint="run the tests with sudo")


def _make(tree: Path, suite: str, packages: list[str]) -> None:
    draft = tree.with_name(f"{tree.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    _install_packages(draft, suite, packages)
    _install_synapse(draft)
    _install_dendrite(draft)
    _make_places(draft)
    draft.rename(tree)


def _install_packages(tree: Path, suite: str, packages: list[str]) -> None:
    sources = source_lines(find_mirrors(suite), debian_architecture())
    settings = "$1/etc/postgresql-common"
    no_cluster = (
        f'mkdir -p "{settings}"; '
        f'echo "create_main_cluster = false" > "{settings}/createcluster.conf"'
    )
    run_program(
        ["mmdebstrap", "--variant=apt", "--mode=root", "--aptopt=APT::Install-Recommends false",
         "--aptopt=Acquire::Languages none", "--dpkgopt=force-unsafe-io",
         "--dpkgopt=path-exclude=/usr/share/man/*", f"--include={','.join(packages)}",
         f"--setup-hook={no_cluster}", suite, str(tree), "-"],
        TREE_SECONDS, input=sources,
    )  # fmt: skip


def _install_synapse(tree: Path) -> None:
    run_program(
        [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet",
         "--target", str(tree / "usr/lib/hearth/synapse"), "--python-version", "3.13",
         "--python-platform", f"{os.uname().machine}-manylinux_2_40",
         "--only-binary", ":all:", f"matrix-synapse=={_synapse_version()}"],
        TREE_SECONDS,
    )  # fmt: skip
    run_program(
        ["chroot", str(tree), "python3", "-m", "compileall", "-q", "/usr/lib/hearth/synapse"], 300
    )


def _install_dendrite(tree: Path) -> None:
    """As the image's, from the same go.mod and by the same Go, but for this machine."""
    context = make_context(make_recipe("hearth"))
    ensure_tools(context)
    target = tree / "usr/lib/hearth/dendrite"
    target.mkdir(parents=True)
    directory = REPOSITORY / "image/profiles" / context.recipe.profile.dendrite.directory
    compile_dendrite(context, target, directory, debian_architecture())


def _make_places(tree: Path) -> None:
    """Empty directories that the sandbox binds over."""
    for name in PYTHON_PACKAGES:
        (tree / "usr/lib/python3/dist-packages" / name).mkdir(exist_ok=True)
    for name in ("usr/share/hearth", "data", "scratch"):
        (tree / name).mkdir(exist_ok=True)


def _locked(lock: Path, before: str, fallback: str) -> str:
    """The version that the image is built with."""
    if lock.exists():
        for line in lock.read_text().splitlines():
            if before in line:
                return line.partition(before)[2].split()[0].strip("\\\"';")
    return fallback


def _synapse_version() -> str:
    return _locked(REPOSITORY / "image/profiles/synapse.lock", "matrix-synapse==", SYNAPSE_FALLBACK)


def _dendrite_version() -> str:
    return _locked(REPOSITORY / "image/profiles/dendrite/go.mod", f"{DENDRITE} ", DENDRITE_FALLBACK)


def run_program(argv: list[str], seconds: int, **options: object) -> str:
    result = subprocess.run(
        argv, capture_output=True, text=True, timeout=seconds, check=False, **options
    )
    assert result.returncode == 0, f"{argv[0]} failed:\n{result.stderr[-3000:]}"
    return result.stdout
