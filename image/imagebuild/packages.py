"""Which Debian packages, in which versions, and getting them.

apt of the tools tree resolves; we download by the hash in its index, several at a time, into a
cache of .deb files. The resolved list is what the lock file holds.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import requests

from appliance.atomic import write_atomic
from appliance.errors import ConfigError, HashMismatchError, NetworkError
from appliance.log import progress
from appliance.run import run
from appliance.tables import parse_table, to_table
from imagebuild.context import Context
from imagebuild.host import Mirror, find_mirrors, source_lines
from imagebuild.sandbox import inside

DOWNLOADS_AT_ONCE = 8
CHUNK = 1 << 20
TIMEOUT = 60
FIELDS = ("Package", "Version", "Architecture", "Filename", "SHA256", "Size")


@dataclass(frozen=True, kw_only=True)
class Package:
    """One .deb: ``filename`` is its place in the archive."""

    name: str
    version: str
    architecture: str
    filename: str
    sha256: str
    size: int

    @property
    def deb(self) -> str:
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True, kw_only=True)
class PackageSet:
    """``root``: installed by dpkg; ``boot``: only unpacked for kernel, firmware and initramfs."""

    root: tuple[Package, ...]
    boot: tuple[Package, ...]
    kernel_release: str


# apt calls itself essential; a slot is replaced as a whole and has no use for it.
ESSENTIAL = "?and(?essential,?not(?name(^apt$)))"
BOOT_PACKAGES = ("u-boot-rpi", "raspi-firmware", "busybox-static", "firmware-brcm80211")


def resolve(context: Context, architecture: str | None = None) -> PackageSet:
    """Ask apt for the closure of the profile's packages. Raises NetworkError, ConfigError."""
    profile = context.recipe.profile
    architecture = architecture or profile.architecture
    state = prepare_apt(context, architecture)
    kernel = profile.kernel
    depends = _apt(context, state, "apt-cache", "depends", f"{kernel.package}/{kernel.suite}")
    image = re.search(r"Depends: linux-image-(\S+)", depends)
    if image is None:
        raise ConfigError(f"{kernel.package!r} in {kernel.suite} depends on no kernel image")
    release = image.group(1)
    parts = [f"linux-{part}-{release}" for part in ("base", "binary", "modules")]
    wanted = [ESSENTIAL, *profile.packages, *(f"{name}-" for name in profile.without)]
    return PackageSet(
        root=_closure(context, state, wanted),
        boot=_records(context, state, [*parts, *BOOT_PACKAGES]),
        kernel_release=release,
    )


def prepare_apt(context: Context, architecture: str) -> Path:
    """A private apt state for a foreign architecture, with fresh indexes."""
    mirrors = find_mirrors(context.recipe.profile.suite, mirror=context.recipe.mirror)
    state = context.cache / f"apt-{architecture}"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text(source_lines(mirrors, architecture))
    (state / "mirrors.json").write_text(json.dumps([to_table(m) for m in mirrors]))
    (state / "apt.conf").write_text(
        f'APT::Architecture "{architecture}"; APT::Architectures {{"{architecture}";}};\n'
        'Dir::State "/apt"; Dir::State::status "/apt/status"; Dir::Cache "/apt/cache";\n'
        'Dir::Etc::sourcelist "/apt/sources.list"; Dir::Etc::sourceparts "/apt/none";\n'
        'Acquire::Languages "none"; APT::Install-Recommends "false"; APT::Sandbox::User "root";\n'
        'Acquire::Retries "3";\n'
    )
    (state / "none").mkdir(exist_ok=True)
    _apt(context, state, "apt-get", "update", "-qq")
    return state


def _apt(context: Context, state: Path, *argv: str) -> str:
    sandbox = inside(
        context.tools,
        binds=[(state, "/apt")],
        read_only=[(Path("/usr/share/keyrings"), "/usr/share/keyrings")],
        network=True,
        env={"APT_CONFIG": "/apt/apt.conf"},
    )
    result = run([*sandbox, *argv], check=False)
    if result.returncode != 0:
        lines = [text for text in result.stderr.splitlines() if text.startswith(("E:", "W:"))]
        message = f"{' '.join(argv[:2])} failed: {' '.join(lines[-3:]) or result.stderr[-300:]}"
        if "update" in argv:
            raise NetworkError(message, hint="is the mirror reachable? another one: --mirror URI")
        raise ConfigError(message, hint="check the package names in image/profiles")
    return result.stdout


def _closure(context: Context, state: Path, wanted: list[str]) -> tuple[Package, ...]:
    plan = _apt(context, state, "apt-get", "install", "--simulate", "-y",
                "--allow-change-held-packages", "--allow-remove-essential", *wanted)  # fmt: skip
    found = re.findall(r"^Inst (\S+) \((\S+) ", plan, flags=re.M)
    return _records(context, state, [f"{name.split(':')[0]}={version}" for name, version in found])


def _records(context: Context, state: Path, names: list[str]) -> tuple[Package, ...]:
    text = _apt(context, state, "apt-cache", "show", "--no-all-versions", *names)
    packages: dict[str, Package] = {}
    for stanza in text.strip().split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, flags=re.M))
        name, version, arch, filename, sha256, size = (fields[key] for key in FIELDS)
        packages.setdefault(
            name,
            Package(
                name=name,
                version=version,
                architecture=arch,
                filename=filename,
                sha256=sha256,
                size=int(size),
            ),
        )
    return tuple(packages[name] for name in sorted(packages))


def download(context: Context, packages: Iterable[Package]) -> None:
    """Fetch what the cache does not hold. Raises NetworkError, HashMismatchError."""
    mirrors = find_mirrors(context.recipe.profile.suite, mirror=context.recipe.mirror)
    missing = [package for package in packages if not (context.debs / package.deb).exists()]
    if not missing:
        return
    total = sum(package.size for package in missing) / 1e6
    with (
        progress(f"Downloading {len(missing)} packages ({total:.0f} MB)"),
        requests.Session() as session,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
    ):
        list(pool.map(lambda package: _fetch(session, mirrors, context.debs, package), missing))


def _fetch(
    session: requests.Session, mirrors: tuple[Mirror, ...], directory: Path, package: Package
) -> None:
    uris = dict.fromkeys(mirror.uri for mirror in mirrors)
    problems = []
    for uri in uris:
        url = f"{uri}/{package.filename}"
        try:
            with session.get(url, timeout=TIMEOUT) as reply:
                if reply.status_code == requests.codes.not_found:
                    continue
                reply.raise_for_status()
                content = reply.content
        except requests.RequestException as error:
            problems.append(str(error))
            continue
        if hashlib.sha256(content).hexdigest() != package.sha256:
            message = f"{package.deb} is not what the index or lock promises (SHA-256 differs)"
            raise HashMismatchError(message, hint="a proxy may have altered it; try again")
        write_atomic(directory / package.deb, content)
        return
    detail = problems[-1] if problems else "no mirror has it any more"
    message = f"cannot download {package.name} {package.version}: {detail}"
    raise NetworkError(message, hint="`hearth lock` moves the lock file to today's versions")


def save_lock(packages: PackageSet, path: Path) -> None:
    """One line per package, so that a change of one version is a diff of one line."""
    rows = {
        "kernel_release": packages.kernel_release,
        "root": [to_table(package) for package in packages.root],
        "boot": [to_table(package) for package in packages.boot],
    }
    lines = ["{", f'"kernel_release": {json.dumps(rows["kernel_release"])},']
    for section, end in (("root", ","), ("boot", "")):
        entries = ",\n".join(json.dumps(row, sort_keys=True) for row in rows[section])
        lines.append(f'"{section}": [\n{entries}\n]{end}')
    write_atomic(path, "\n".join([*lines, "}"]) + "\n")


def load_lock(path: Path) -> PackageSet:
    if not path.exists():
        message = f"there is no lock file {path.name}"
        raise ConfigError(message, hint="`hearth lock` writes one")
    return parse_table(PackageSet, json.loads(path.read_text()), where=path.name)
