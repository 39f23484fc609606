"""The packages layer: unpacked by the host's native dpkg, configured with native interpreters.

Nearly all the work of maintainer scripts is done by programs that are not specific to an
architecture: shells, Perl, Python, coreutils. The tools tree has the very same versions for the
host, so they are mounted over their twins while the packages are configured; Debian's multiarch
directories keep both sets of libraries apart. What remains is emulated by qemu-user. dpkg itself
is emulated as well, because its architecture is compiled in. On a host of the target's own
architecture nothing needs to be mounted, and the same code runs as it is.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import CommandError
from appliance.log import progress
from appliance.run import run
from imagebuild.context import Context
from imagebuild.host import debian_architecture
from imagebuild.packages import Package
from imagebuild.sandbox import Binds, inside

# Programs whose answer depends on the architecture they were compiled for, and those that load
# PAM modules, which the tools tree need not have.
KEPT_EMULATED = {
    "su", "runuser", "login", "passwd", "chage", "chfn", "chsh", "newgrp", "sulogin",
    "dpkg", "dpkg-deb", "dpkg-query", "dpkg-split", "ldconfig", "ldconfig.real", "ldd", "arch",
    "uname", "getconf", "update-alternatives",
}  # fmt: skip
PROGRAM_DIRECTORIES = ("usr/bin", "usr/sbin", "usr/lib/systemd", "usr/lib/ssl-cert")
NATIVE_LIBRARIES = ("usr/lib/{triplet}", "usr/lib/python3.13/lib-dynload")
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
LOADERS = {"amd64": "lib64"}
SCRIPT_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DPKG_FORCE": "unsafe-io,confold",
    "SYSTEMD_OFFLINE": "1",
}
FIRST_BATCH_SEEDS = ("base-files", "base-passwd", "dash", "libc6", "mawk", "perl-base", "debconf",
                     "coreutils", "sed", "grep", "dpkg", "tar", "bash", "findutils")  # fmt: skip


def make_packages_layer(
    context: Context, root: Path, packages: Sequence[Package], *, architecture: str
) -> None:
    """Unpack and configure ``packages`` into the empty directory ``root``.

    Raises CommandError whose hint names the log; nothing outside ``root`` is changed.
    """
    log = context.logs / f"packages-{architecture}.log"
    log.write_text("")
    with progress(f"Unpacking {len(packages)} packages"):
        _prepare(context, root, packages, architecture, log)
        _unpack(context, root, packages, architecture, log)
    with progress("Configuring packages"):
        _configure(context, root, architecture, log)
    _clean(root)


def _prepare(
    context: Context, root: Path, packages: Sequence[Package], architecture: str, log: Path
) -> None:
    """Extract the first shell and its friends, so that preinst scripts can run at all."""
    profile = context.recipe.profile
    excludes = " ".join(f"--exclude=.{pattern}" for pattern in profile.path_exclude)
    first = [f"/debs/{p.deb}" for p in packages if p.name in _first_names(packages)]
    _in_tools(context, root, log, "/bin/sh", "-efc", EXTRACT, excludes, *first)
    for name, lines in FIXED_USERS.items():
        with (root / "etc" / name).open("a") as file:
            file.write(lines)
    dpkg = root / "var/lib/dpkg"
    for name in ("info", "updates", "triggers", "alternatives", "parts"):
        (dpkg / name).mkdir(parents=True, exist_ok=True)
    (dpkg / "status").touch()
    (dpkg / "available").touch()
    rules = [f"path-exclude={pattern}" for pattern in profile.path_exclude]
    rules += [f"path-include={pattern}" for pattern in profile.path_include]
    configuration = root / "etc/dpkg/dpkg.cfg.d"
    configuration.mkdir(parents=True, exist_ok=True)
    (configuration / "hearth").write_text("\n".join(rules) + "\n")
    if architecture != debian_architecture():
        (dpkg / "arch").write_text(f"{debian_architecture()}\n{architecture}\n")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # no service starts while packages are configured
    policy.chmod(0o755)
    # postgresql-common would make a cluster; ours is made on the device, on its data partition.
    cluster = root / "etc/postgresql-common/createcluster.conf"
    cluster.parent.mkdir(parents=True, exist_ok=True)
    cluster.write_text("create_main_cluster = false\n")


# Owners of files on the data partition must have the same numbers in every later slot, so they are
# not left to the order in which packages happen to be configured. Ours are in sysusers.d.
FIXED_USERS = {
    "passwd": "postgres:*:800:800:PostgreSQL administrator:/var/lib/postgresql:/bin/bash\n",
    "group": "postgres:*:800:\n",
}

EXTRACT = """
for deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar --extract --keep-directory-symlink $0 -C /target
done
[ -e /target/usr/bin/awk ] || ln -s mawk /target/usr/bin/awk
cp -n /target/usr/share/base-passwd/passwd.master /target/etc/passwd
cp -n /target/usr/share/base-passwd/group.master /target/etc/group
"""


def _first_names(packages: Sequence[Package]) -> set[str]:
    """The seeds and every library: a superset of what the first scripts need, cheap to extract."""
    libraries = {package.name for package in packages if package.name.startswith("lib")}
    return {*FIRST_BATCH_SEEDS, "debianutils", "diffutils", "gzip", "passwd"} | {
        name for name in libraries if not name.startswith(("libllvm", "libicu", "libperl"))
    }


def _unpack(
    context: Context, root: Path, packages: Sequence[Package], architecture: str, log: Path
) -> None:
    options = ["--force-depends", "--force-unsafe-io", "--force-overwrite", "--force-confold"]
    excludes = [f"--path-exclude={p}" for p in context.recipe.profile.path_exclude]
    includes = [f"--path-include={p}" for p in context.recipe.profile.path_include]
    debs = [f"/debs/{package.deb}" for package in packages]
    _in_tools(context, root, log, "dpkg", "--root=/target", *options, *excludes, *includes,
              "--unpack", *debs)  # fmt: skip
    (root / "var/lib/dpkg/arch").unlink(missing_ok=True)


def _in_tools(context: Context, root: Path, log: Path, *argv: str) -> None:
    sandbox = inside(
        context.tools,
        binds=[(root, "/target")],
        read_only=[(context.debs, "/debs")],
        env=SCRIPT_ENVIRONMENT,
    )
    _run_logged([*sandbox, *argv], log)


def _configure(context: Context, root: Path, architecture: str, log: Path) -> None:
    natives, made = native_binds(context.tools, root, architecture)
    sandbox = inside(root, read_only=natives, env=SCRIPT_ENVIRONMENT)
    try:
        # Other packages need not depend on essential ones (Debian policy, 3.8): these come first.
        _run_logged([*sandbox, "dpkg", "--force-depends", "--configure",
                     *unconfigured_essentials(root)], log)  # fmt: skip
        _run_logged([*sandbox, "dpkg", "--configure", "-a"], log)
    finally:
        for path in reversed(made):
            path.rmdir()


def unconfigured_essentials(root: Path) -> list[str]:
    stanzas = (root / "var/lib/dpkg/status").read_text().split("\n\n")
    return [
        stanza.splitlines()[0].removeprefix("Package: ")
        for stanza in stanzas
        if "\nEssential: yes\n" in stanza and "\nStatus: install ok unpacked\n" in stanza
    ]


def native_binds(tools: Path, root: Path, architecture: str) -> tuple[Binds, list[Path]]:
    """What to mount over ``root``, and the mount points made for it (to be removed after)."""
    host = debian_architecture()
    if host == architecture:
        return [], []
    made = []
    binds: list[tuple[Path, str]] = []
    for pattern in (*NATIVE_LIBRARIES, LOADERS.get(host, "")):
        name = pattern.format(triplet=TRIPLETS[host])
        source = tools / ("usr" / Path(name) if name in LOADERS.values() else name)
        target = root / name
        if not name or not source.exists():
            continue
        if not target.exists():
            target.mkdir()
            made.append(target)
        binds.append((source, f"/{name}"))
    for directory in PROGRAM_DIRECTORIES:
        binds += _programs(tools, root, directory)
    return binds, made


def _programs(tools: Path, root: Path, directory: str) -> list[tuple[Path, str]]:
    """Every ELF program that lies at the same place in both trees."""
    found = []
    if not (tools / directory).is_dir():
        return []
    for program in sorted((tools / directory).iterdir()):
        twin = root / directory / program.name
        if program.name in KEPT_EMULATED or program.is_symlink() or not program.is_file():
            continue
        if twin.is_file() and not twin.is_symlink() and _is_elf(program) and _is_elf(twin):
            found.append((program, f"/{directory}/{program.name}"))
    return found


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _clean(root: Path) -> None:
    """Take away what only the build needed, and what would differ from build to build."""
    for name in ("usr/sbin/policy-rc.d", "etc/machine-id", "var/lib/dbus/machine-id"):
        (root / name).unlink(missing_ok=True)
    # /dev: scripts that ran before there was one have made a plain file of /dev/null.
    for name in ("dev", "var/cache", "var/log", "var/lib/apt", "var/tmp"):
        directory = root / name
        if directory.is_dir():
            for child in directory.iterdir():
                shutil.rmtree(
                    child
                ) if child.is_dir() and not child.is_symlink() else child.unlink()
    for old in (root / "var/lib/dpkg").glob("*-old"):
        old.unlink()
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    # The day of the build is in the passwords' age; put that of the newest package there.
    day = str(package_date(root) // 86400)
    for shadow in root.glob("etc/shadow*"):
        shadow.write_text(
            re.sub(r"^(\w[^:]*:[^:]*):\d+:", rf"\g<1>:{day}:", shadow.read_text(), flags=re.M)
        )
    snakeoil = ("etc/ssl/private/ssl-cert-snakeoil.key", "etc/ssl/certs/ssl-cert-snakeoil.pem")
    for name in snakeoil:
        (root / name).unlink(missing_ok=True)


def package_date(root: Path) -> int:
    """When the newest package of ``root`` was made: a date that is the same in every build."""
    return int(max(path.stat().st_mtime for path in root.glob("usr/share/doc/*/copyright")))


def _run_logged(argv: Sequence[str], log: Path) -> None:
    with log.open("a") as output:
        result = run(argv, log=output, check=False)
    if result.returncode != 0:
        with log.open(errors="replace") as file:
            tail = "".join(file.readlines()[-8:]).strip()
        message = f"packages could not be installed (exit code {result.returncode}):\n{tail}"
        raise CommandError(message, hint=f"the whole log is {os.fspath(log)}")
