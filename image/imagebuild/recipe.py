"""What to build: profile (software) and boards (hardware facts), read once and checked."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from appliance.errors import ConfigError
from appliance.tables import parse_table

SOURCE = Path(__file__).resolve().parents[2]
IMAGE_DIR = SOURCE / "image"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """``modules`` are names, ``module_directories`` prefixes below the module tree."""

    package: str
    suite: str
    modules: tuple[str, ...] = ()
    module_directories: tuple[str, ...] = ()
    initramfs_modules: tuple[str, ...] = ()
    initramfs_modules_pi: tuple[str, ...] = ()
    initramfs_modules_virt: tuple[str, ...] = ()

    @property
    def initramfs_lists(self) -> dict[str, tuple[str, ...]]:
        return {
            "common": self.initramfs_modules,
            "pi": self.initramfs_modules_pi,
            "virt": self.initramfs_modules_virt,
        }


@dataclass(frozen=True, kw_only=True)
class Masked:
    """Names that become links to /dev/null, by the directory that they are looked up in."""

    units: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()
    udev_rules: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        return [
            *(f"etc/systemd/system/{name}" for name in self.units),
            *(f"etc/systemd/system-generators/{name}" for name in self.generators),
            *(f"etc/udev/rules.d/{name}" for name in self.udev_rules),
        ]


@dataclass(frozen=True, kw_only=True)
class Synapse:
    lock: str
    python: str


@dataclass(frozen=True, kw_only=True)
class Dendrite:
    module: str
    directory: str
    commands: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Compression:
    format: str
    level: int


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A profile file (image/profiles/NAME.toml).

    ``minimum`` is the oldest version that may update to this one.
    """

    version: str
    minimum: str = "0"
    suite: str
    architecture: str
    packages: tuple[str, ...]
    without: tuple[str, ...] = ()
    path_exclude: tuple[str, ...] = ()
    path_include: tuple[str, ...] = ()
    kernel: Kernel
    masked: Masked
    synapse: Synapse
    dendrite: Dendrite
    compression: Compression


@dataclass(frozen=True, kw_only=True)
class Board:
    """Facts about one Raspberry Pi (image/boards/NAME.toml); ``evidence`` says who saw it boot."""

    name: str
    title: str
    device_tree: str
    memory_mb: tuple[int, ...]
    evidence: str
    qemu_machine: str | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Profile, boards and the command line's wishes, fully resolved.

    Without ``keyring`` updates are believed from this checkout's own keys. ``update_url`` is where
    the channels are; without one an appliance is updated from a file or a stick only.
    """

    profile: Profile
    boards: tuple[Board, ...]
    locked: bool = False
    release: bool = False
    keyring: Path | None = None
    update_url: str = ""
    mirror: str | None = None
    profile_name: str = "hearth"
    source: Path = field(default=SOURCE)

    @property
    def version(self) -> str:
        """A development image says so in its version, and so on every page."""
        version = self.profile.version
        return version if self.release or Version(version).is_devrelease else f"{version}-dev"

    @property
    def development_keys(self) -> Path:
        """One pair a checkout: the images of all its builds can update each other."""
        return self.source / "build/keys"


def load_profile(name: str) -> Profile:
    return _load(Profile, IMAGE_DIR / "profiles", name, "profile")


def load_board(name: str) -> Board:
    return _load(Board, IMAGE_DIR / "boards", name, "board")


def load_boards() -> tuple[Board, ...]:
    return tuple(load_board(path.stem) for path in sorted((IMAGE_DIR / "boards").glob("*.toml")))


def make_recipe(
    profile_name: str, compression: str | None = None, version: str | None = None, **wishes: object
) -> Recipe:
    """Raises ConfigError for what cannot be, e.g. a release image without a keyring."""
    profile = load_profile(profile_name)
    profile = replace(profile, version=version or profile.version)
    if compression is not None:
        level = {"xz": 6, "zst": profile.compression.level}[compression]
        chosen = Compression(format=compression, level=level)
        profile = replace(profile, compression=chosen)
    recipe = Recipe(profile=profile, boards=load_boards(), profile_name=profile_name)
    recipe = replace(recipe, **wishes)  # type: ignore[arg-type]
    _check_versions(recipe)
    _check_url(recipe.update_url)
    if recipe.release and recipe.keyring is None:
        message = "a release image needs --keyring: the root that its updates are checked against"
        raise ConfigError(message, hint="leave --release out to make a development image")
    return recipe


def _check_versions(recipe: Recipe) -> None:
    """An appliance orders them by PEP 440, and must never meet one that it cannot place."""
    try:
        minimum, version = Version(recipe.profile.minimum), Version(recipe.profile.version)
    except InvalidVersion as error:
        message = f"this is no version that can be ordered: {error}"
        raise ConfigError(message, hint="write one like 1.2.3 or 1.2.3rc1") from error
    if minimum > version:
        message = f"nothing could update to {version}: the profile's minimum is {minimum}"
        raise ConfigError(message, hint="the minimum is the oldest version to update from")
    if version.local or (recipe.release and version.is_devrelease):
        message = f"{recipe.profile.version!r} cannot be the version of a release"
        raise ConfigError(message, hint="give the release's own with --version, e.g. 1.2.3")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        plain = not (parts.query or parts.fragment or parts.username)
    except ValueError:
        known = plain = False
    if url and not (known and plain):
        message = f"{url!r} is no address under which channels can be"
        raise ConfigError(message, hint="write it like https://updates.example.org/hearth")


def _load(cls: type[T], directory: Path, name: str, kind: str) -> T:
    path = directory / f"{name}.toml"
    if not path.is_file():
        known = sorted(file.stem for file in directory.glob("*.toml"))
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"there is no {kind} {name!r}", hint=hint)
    try:
        return parse_table(cls, tomllib.loads(path.read_text()), where=path.name)
    except tomllib.TOMLDecodeError as error:
        message = f"{path.name}: {error}"
        raise ConfigError(message, hint=f"correct {path}") from error
    except ConfigError as error:
        error.hint = error.hint or f"correct {path}"
        raise
