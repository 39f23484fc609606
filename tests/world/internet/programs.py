"""The servers and tools of the Internet in a box: a small Debian 13 tree, only unpacked.

Nothing in it is configured, so making it takes half a minute; every daemon gets its whole
configuration from this package. Made once per list of packages under ~/.cache/hearth/world.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

from imagebuild.cache import ensure_layer, hash_inputs
from imagebuild.host import debian_architecture, find_mirrors, source_lines
from imagebuild.tools import finish_unconfigured
from world.tree import CACHE, TREE_SECONDS, require_host, run_program

GENERATION = 1
SUITE = "trixie"
PACKAGES = (
    # names, certificates
    "bind9", "bind9-utils", "bind9-dnsutils", "pebble", "ca-certificates", "openssl",
    # the time
    "chrony",
    # the home router
    "nftables", "dnsmasq-base", "miniupnpd", "miniupnpd-nftables", "iproute2",
    # whoever is connected to it, and the appliance's own Python code
    "udhcpc", "miniupnpc", "iputils-ping", "curl", "tcpdump", "wireguard-tools", "wireguard-go",
    "python3", "python3-miniupnpc", "python3-dnspython", "python3-acme", "python3-requests",
    "python3-netifaces", "python3-tomli-w", "python3-cryptography", "publicsuffix",
    "python3-jinja2",
    # a shell for hands
    "base-files", "base-passwd", "dash", "bash", "coreutils", "findutils", "grep", "sed", "mawk",
    "procps", "less", "util-linux", "mount", "passwd", "hostname", "libc-bin",
)  # fmt: skip


def ensure_programs() -> Path:
    """The path of the tree. Raises where the host cannot make one; a test never skips for it."""
    require_host()
    CACHE.mkdir(parents=True, exist_ok=True)
    # Two test runs may want the tree at once.
    with (CACHE / "internet.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        key = hash_inputs(GENERATION, PACKAGES, SUITE, debian_architecture())
        return ensure_layer(CACHE, "internet", key, _make, title="Making the Internet's programs")


def _make(target: Path) -> None:
    run_program(
        ["mmdebstrap", "--variant=extract", "--mode=root", "--format=directory",
         "--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Languages none",
         "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
         f"--include={','.join(PACKAGES)}", SUITE, str(target), "-"],
        TREE_SECONDS, input=source_lines(find_mirrors(SUITE), debian_architecture()),
    )  # fmt: skip
    finish_unconfigured(target)
    # Where a host's own files and our code are bound; base-files makes them only when configured.
    for place in ("srv", "opt"):
        (target / place).mkdir(exist_ok=True)
