"""The build host: is everything there, and which Debian mirrors does it use."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import DiskFullError, MissingToolError, NetworkError, PrivilegeError
from appliance.layout import GIB
from appliance.run import find_tool, run

BINFMT = Path("/proc/sys/fs/binfmt_misc")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED_TOOLS = {"mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap", "apt-get": "apt"}
FREE_SPACE = 12 * GIB
# The magic and mask of an AArch64 ELF program, from qemu's scripts/qemu-binfmt-conf.sh.
ELF_MAGIC = (
    r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff",
)


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """One apt source line's parts."""

    uri: str
    suite: str


def debian_architecture() -> str:
    """The host's architecture in Debian's words."""
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    machine = platform.machine()
    if machine not in names:
        message = f"building on {machine!r} is not supported"
        raise MissingToolError(message, hint="use an x86-64 or arm64 Debian 12 or 13 machine")
    return names[machine]


def check_host(build: Path) -> None:
    """Raises PrivilegeError, MissingToolError or DiskFullError before any work is done."""
    if os.geteuid() != 0:
        message = "building an image needs root (owners of files, chroot)"
        raise PrivilegeError(message, hint="sudo image/build")
    for tool, package in NEEDED_TOOLS.items():
        if find_tool(tool) is None:
            message = f"program {tool!r} is not installed"
            raise MissingToolError(message, hint=f"apt-get install {package}")
    if not KEYRING.exists():
        message = f"{KEYRING} is missing: Debian's packages could not be verified"
        raise MissingToolError(message, hint="apt-get install debian-archive-keyring")
    existing = next(path for path in (build, *build.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < FREE_SPACE:
        message = f"{free / GIB:.1f} GiB free under {build}; a build needs {FREE_SPACE / GIB:.0f}"
        raise DiskFullError(message, hint="make room, or set HEARTH_CACHE to another disk")


def find_mirrors(suite: str, *, mirror: str | None = None) -> tuple[Mirror, ...]:
    """The target's sources: the host's own Debian mirrors with the target's suites.

    apt itself is asked (``apt-get indextargets``), so every form of source file is understood.
    """
    main, security = mirror, mirror
    if mirror is None:
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        lines = run(
            [
                "apt-get",
                "indextargets",
                "--format",
                "$(RELEASE) $(REPO_URI)",
                "Created-By: Packages",
            ],
        ).stdout.splitlines()
        found = dict(reversed([line.split(maxsplit=1) for line in lines]))
        main = found.get(codename)
        security = found.get(f"{codename}-security", main)
        if main is None or security is None:
            message = f"apt on this machine has no Debian source for {codename!r}"
            raise NetworkError(message, hint="give one with --mirror URI")
    elif not mirror.rstrip("/").endswith("-security"):
        security = f"{mirror.rstrip('/')}-security"
    assert main is not None
    assert security is not None
    suites = (suite, f"{suite}-updates", f"{suite}-backports")
    mirrors = [Mirror(uri=main.rstrip("/"), suite=name) for name in suites]
    return (*mirrors, Mirror(uri=security.rstrip("/"), suite=f"{suite}-security"))


def source_lines(mirrors: tuple[Mirror, ...], architecture: str) -> str:
    options = f"[arch={architecture} signed-by={KEYRING}]"
    components = "main non-free-firmware"
    return "".join(f"deb {options} {m.uri} {m.suite} {components}\n" for m in mirrors)


def ensure_emulation(tools: Path, architecture: str) -> None:
    """Let the kernel run the target's programs: binfmt_misc with the F flag.

    F opens the interpreter at registration, so that it works inside every chroot (kernel
    documentation, admin-guide/binfmt-misc). A registration that is already there is kept.
    """
    if debian_architecture() == architecture:
        return
    if not (BINFMT / "register").exists():
        result = run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=False)
        if result.returncode != 0:
            message = "the kernel has no binfmt_misc: arm64 programs cannot run on this machine"
            raise MissingToolError(message, hint="modprobe binfmt_misc, or build on an arm64 host")
    for entry in BINFMT.glob("qemu-aarch64*"):
        lines = entry.read_text().splitlines()
        flags = next((line.split(":")[1] for line in lines if line.startswith("flags")), "")
        interpreter = next((line.split()[1] for line in lines if line.startswith("interp")), "")
        if "F" in flags and Path(interpreter).exists():
            return
        entry.write_text("-1")
    magic, mask = ELF_MAGIC
    interpreter_path = tools / "usr/bin/qemu-aarch64"
    line = f":qemu-aarch64-hearth:M::{magic}:{mask}:{interpreter_path}:FP"
    (BINFMT / "register").write_text(line.replace(":FP", ":F"))
