"""`hearth bundle`: the slot of a built image as a signed RAUC bundle.

What the bundle says of itself is read from the slot that it carries, not from any file beside the
image, so the two cannot disagree.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path

from appliance.channelindex import MAX_NOTES
from appliance.errors import CommandError, ConfigError, ImageError, MissingToolError, UsageError
from appliance.layout import SLOT_A
from appliance.log import progress
from appliance.release import COMPATIBLE, ReleaseFacts, to_meta
from appliance.run import Argument, find_tool, run
from appliance.tables import parse_table
from imagebuild.bundlefile import BundleFile, read_bundle
from imagebuild.context import Context
from imagebuild.disk import BLOCK
from imagebuild.sandbox import Binds, inside
from imagebuild.signer import TOKEN
from imagebuild.sparse import copy_part

# Measured on a slot of 671 MB (share of it that a small change downloads): 16k 235 MB (3.2 %), 64k
# 221 MB (3.3 %), 128k 213 MB (3.5 %), 1M 192 MB (4.0 %), all at level 19. Level 15 takes a third of
# the time of 19 and 1 % more room; xz saves 10 % of the room, and small boards unpack it slowly.
SQUASHFS = "-comp zstd -Xcompression-level {level} -b 64k"
LEVEL = 19
FACTS = "/usr/share/hearth/image.json"
SUPERBLOCK, EXT_MAGIC = 1024, 0xEF53
# What RAUC checks its own work by; an appliance's system.conf has the same lines.
SIGNING = """[system]
compatible={compatible}
bootloader=noop
data-directory=/nowhere
bundle-formats=verity

[keyring]
path={keyring}
check-crl=true
check-purpose=codesign
use-bundle-signing-time=true
"""
MANIFEST = """[update]
compatible={compatible}
version={version}

[bundle]
format=verity

[image.rootfs]
filename=rootfs.ext4
adaptive=block-hash-index

[meta.hearth]
"""


@dataclass(frozen=True, kw_only=True)
class Signing:
    """``certificate`` and ``key``: PEM files, or PKCS#11 URIs of a hardware token (RFC 7512)."""

    certificate: str
    key: str
    keyring: Path

    @property
    def is_token(self) -> bool:
        return self.certificate.startswith(TOKEN) or self.key.startswith(TOKEN)


@dataclass(frozen=True, kw_only=True)
class SlotImage:
    """A slot inside a flashable image; ``size`` of its file system, in bytes."""

    image: Path
    size: int
    facts: ReleaseFacts
    is_development: bool


def make_bundle(
    context: Context,
    slot: SlotImage,
    signing: Signing,
    notes: str,
    target: Path,
    *,
    level: int = LEVEL,
) -> BundleFile:
    """Raises HearthError; ``target`` is there only when it is whole and verified.

    ``level`` is zstd's, up to 22: minutes at the build against megabytes at every download.
    """
    place = context.work / "bundle"
    shutil.rmtree(place, ignore_errors=True)
    content = place / "content"
    content.mkdir(parents=True)
    try:
        with progress("Taking the slot out of the image"):
            copy_part(slot.image, SLOT_A.start, slot.size, content / "rootfs.ext4")
        (content / "notes.txt").write_text(notes)
        (content / "manifest.raucm").write_text(render_manifest(slot.facts))
        with progress("Compressing and signing the bundle"):
            run_rauc(context, signing, place, level)
        made = read_bundle(place / "bundle.raucb", signing.keyring)
        if made.facts != slot.facts:
            message = "RAUC has changed what the bundle says of itself"
            raise ImageError(message, hint="this is a fault of `hearth bundle`: please report it")
        partial = target.with_name(f".{target.name}.partial")
        try:
            shutil.move(made.path, partial)  # maybe onto another disk
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return BundleFile(
        path=target, facts=made.facts, signed=made.signed, size=made.size, sha256=made.sha256
    )


def read_slot(context: Context, image: Path) -> SlotImage:
    """What slot A of a flashable image says of itself. Raises ImageError."""
    size = file_system_size(image, SLOT_A.start)
    sandbox = inside(context.tools.resolve(), read_only=[(image.resolve(), "/run/image")])
    device = f"/run/image?offset={SLOT_A.start}"
    said = run([*sandbox, "debugfs", "-R", f"cat {FACTS}", device], check=False).stdout
    try:
        table = json.loads(said)
        facts = parse_table(ReleaseFacts, table["facts"], where=FACTS)
        return SlotImage(
            image=image, size=size, facts=facts, is_development=bool(table["development"])
        )
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        message = f"the slot in {image} does not say which release it is"
        raise ImageError(message, hint="build the image anew: sudo image/build") from error


def file_system_size(image: Path, offset: int) -> int:
    """Bytes of the ext4 file system at ``offset`` (kernel documentation, ext4 super block)."""
    try:
        with image.open("rb") as file:
            raw = os.pread(file.fileno(), 1024, offset + SUPERBLOCK)
            end = os.fstat(file.fileno()).st_size
    except OSError as error:
        message = f"{image} cannot be read: {error.strerror}"
        raise ImageError(message, hint="build it first: sudo image/build") from error
    if len(raw) < 1024 or struct.unpack_from("<H", raw, 56)[0] != EXT_MAGIC:  # noqa: PLR2004
        message = f"{image} has no slot where slot A begins"
        raise ImageError(message, hint="give a .img file of `hearth build`, not a compressed one")
    low, high = struct.unpack_from("<I", raw, 4)[0], struct.unpack_from("<I", raw, 0x150)[0]
    size = int(((high << 32) + low) * (1024 << struct.unpack_from("<I", raw, 24)[0]))
    if size % BLOCK or not 0 < size <= min(SLOT_A.size or 0, end - offset):
        message = f"the slot in {image} would have {size} bytes: the image is cut short or damaged"
        raise ImageError(message, hint="build it anew: sudo image/build")
    return size


def check_target(target: Path) -> None:
    """Raises UsageError before minutes of work."""
    if target.is_dir() or not target.parent.is_dir() or target.suffix != ".raucb":
        message = f"{target} cannot be the bundle's file"
        raise UsageError(message, hint="--output names a file ending in .raucb, not a directory")


def check_signing(slot: SlotImage, signing: Signing, *, own: bool) -> None:
    """Raises ConfigError or UsageError; ``own``: the keys of this checkout."""
    if own and not slot.is_development:
        message = f"{slot.image.name} is a release: this checkout's own keys vouch for no release"
        raise UsageError(message, hint="give --cert, --key and --keyring (see `hearth keys`)")
    for name in (signing.certificate, signing.key, os.fspath(signing.keyring)):
        if not name.startswith(TOKEN) and not Path(name).is_file():
            message = f"{name} is not there"
            raise ConfigError(message, hint="`hearth keys new-release-key` makes --cert and --key")


def read_notes(path: Path | None) -> str:
    """Plain text for the owner, at most MAX_NOTES characters. Raises ConfigError."""
    if path is None:
        return ""
    try:
        text = path.read_bytes().decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        message = f"the release notes cannot be read: {path}: {error}"
        raise ConfigError(message, hint="give a file of plain UTF-8 text") from error
    strange = sorted({sign for sign in text if not sign.isprintable() and sign not in "\n\t"})
    if strange or len(text) > MAX_NOTES:
        message = f"{path} has {len(text)} characters, {len(strange)} kinds of them unprintable"
        raise ConfigError(message, hint=f"plain text of at most {MAX_NOTES} characters")
    return text


def render_manifest(facts: ReleaseFacts) -> str:
    lines = "".join(f"{name}={value}\n" for name, value in to_meta(facts).items())
    return MANIFEST.format(compatible=facts.compatible, version=facts.version) + lines


def run_rauc(context: Context, signing: Signing, place: Path, level: int) -> None:
    """``place``/content to ``place``/bundle.raucb, by the tools tree's RAUC.

    A hardware token is spoken to by the host's own RAUC: its driver belongs to the host.
    """
    names = (signing.certificate, signing.key, os.fspath(signing.keyring))
    if signing.is_token:
        if find_tool("rauc") is None:
            message = "signing with a hardware token needs this machine's own RAUC"
            raise MissingToolError(message, hint="apt-get install rauc libengine-pkcs11-openssl")
        argv = _rauc_argv(place, *names, level=level)
        token = {key: os.environ[key] for key in os.environ if key.startswith("RAUC_PKCS11_")}
        result = run(argv, env=token, check=False)
    else:
        binds: Binds = [(Path(n).resolve(), f"/run/{i}") for i, n in enumerate(names)]
        sandbox = inside(context.tools.resolve(), binds=[(place, "/mnt")], read_only=binds)
        inner = [f"/run/{i}" for i in range(len(names))]
        argv = _rauc_argv(Path("/mnt"), *inner, level=level, write_to=place)
        result = run([*sandbox, *argv], check=False)
    if result.returncode != 0:
        lines = [text for text in result.stderr.splitlines() if "rauc-Message" not in text]
        message = f"RAUC could not make the bundle: {' '.join(lines[-3:]).strip()}"
        raise CommandError(message, hint="do --cert, --key and --keyring belong together?")


def _rauc_argv(
    place: Path,
    certificate: str,
    key: str,
    keyring: str,
    *,
    level: int,
    write_to: Path | None = None,
) -> list[Argument]:
    settings = SIGNING.format(compatible=COMPATIBLE, keyring=keyring)
    ((write_to or place) / "system.conf").write_text(settings)
    return [
        "rauc", f"--conf={place}/system.conf", "bundle", f"--cert={certificate}", f"--key={key}",
        f"--signing-keyring={keyring}", f"--mksquashfs-args={SQUASHFS.format(level=level)}",
        place / "content", place / "bundle.raucb",
    ]  # fmt: skip
