"""The keys that vouch for updates: an offline root, release keys under it, and what is revoked.

A root's directory holds root.key (to be kept offline), root.crt, revoked.crl, keyring.pem (the two
before it: what goes into images) and, for each release key, NAME.crt and NAME.key. Everything is
X.509 with ECDSA P-256, because RAUC and OpenSSL check it. A signature counts by the time that
stands in it and not by the appliance's clock, which may say 1970; so certificates need no renewal
on the appliance, and only the revocation list takes a key's power away.
"""

from __future__ import annotations

import datetime
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.atomic import fsync_directory, write_atomic
from appliance.errors import ConfigError, StateError, UsageError
from appliance.log import logger
from imagebuild.certificates import (
    crl_number,
    load_certificate,
    load_crl,
    make_crl,
    make_entry,
    make_name,
    make_release_certificate,
    make_root_certificate,
    pem,
    same_key,
)
from imagebuild.keyring import DEVELOPMENT

ROOT_YEARS = 50  # an appliance must be able to check a signature as long as it runs
RELEASE_YEARS = 3
YEAR = datetime.timedelta(days=365.25)
KEY_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
RESERVED = ("root", "revoked", "keyring")


@dataclass(frozen=True, kw_only=True)
class Root:
    """Somebody's root with its key: all that signs certificates and revocation lists."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def init_root(
    directory: Path,
    title: str,
    now: datetime.datetime,
    *,
    passphrase: bytes | None = None,
    unit: str = "",
) -> None:
    """Make ``directory`` with a new root in it, as a whole or not at all.

    Raises StateError when there is something at that place already.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        message = f"{directory} is there already, and a root is never overwritten"
        raise StateError(message, hint="choose a directory that does not exist yet")
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        key = ec.generate_private_key(ec.SECP256R1())
        ends = now + ROOT_YEARS * YEAR
        certificate = make_root_certificate(key, make_name(title, unit), now, ends)
        _write_key(partial / "root.key", key, passphrase)
        write_atomic(partial / "root.crt", pem(certificate))
        _write_revocations(partial, Root(key=key, certificate=certificate), ())
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    fsync_directory(directory.parent)


def new_release_key(
    directory: Path,
    name: str,
    now: datetime.datetime,
    *,
    years: float = RELEASE_YEARS,
    request: Path | None = None,
    passphrase: bytes | None = None,
) -> Path:
    """A release key NAME.key with its certificate NAME.crt; returns the certificate's path.

    With ``request`` (a PKCS#10 file) the key stays where it was made, e.g. in a hardware token.
    Raises UsageError, ConfigError or StateError; nothing is overwritten.
    """
    if not KEY_NAME.fullmatch(name) or name in RESERVED:
        message = f"{name!r} cannot be the name of a release key"
        raise UsageError(message, hint="use small letters, digits, dots and hyphens, e.g. 2027")
    root = load_root(directory, passphrase)
    secret, target = directory / f"{name}.key", directory / f"{name}.crt"
    for path in (secret, target):
        if path.exists():
            message = f"{path} is there already, and a key is never overwritten"
            raise StateError(message, hint="give the new key another name")
    if request is None:
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        _write_key(secret, key, None)
    else:
        public = _requested_key(request)
    ends = min(now + years * YEAR, root.certificate.not_valid_after_utc)
    certificate = make_release_certificate(root.certificate, root.key, public, name, now, ends)
    write_atomic(target, pem(certificate))
    return target


def revoke(
    directory: Path, name: str, now: datetime.datetime, *, passphrase: bytes | None = None
) -> bool:
    """Put the release key NAME on the list, with a higher number; False when it is there already.

    Raises ConfigError when there is no such certificate, or it is not of this root.
    """
    root = load_root(directory, passphrase)
    path = directory / f"{name}.crt"
    certificate = load_certificate(path)
    if name in RESERVED or certificate.issuer != root.certificate.subject:
        message = f"{path} is no release key of this root"
        raise ConfigError(message, hint=f"`hearth keys show {directory}` lists them")
    crl = load_crl(directory / "revoked.crl")
    known = tuple(crl)
    if any(entry.serial_number == certificate.serial_number for entry in known):
        # A run that was cut short has left the old list in the keyring.
        write_atomic(directory / "keyring.pem", pem(root.certificate) + pem(crl))
        return False
    entry = make_entry(certificate.serial_number, now)
    _write_revocations(directory, root, (*known, entry), number=crl_number(crl) + 1)
    return True


def ensure_development_keys(directory: Path) -> Path:
    """The keyring of this checkout's own root with its release key; made when it is not there.

    Never for a release: its root lies on the very machine that builds.
    """
    keyring = directory / "keyring.pem"
    if keyring.exists() and (directory / f"{DEVELOPMENT}.crt").exists():
        return keyring
    now = datetime.datetime.now(datetime.UTC)
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent)) / "keys"
    try:
        init_root(partial, "Hearth development", now, unit=DEVELOPMENT)
        new_release_key(partial, DEVELOPMENT, now, years=ROOT_YEARS)
        partial.rename(directory)
    except OSError as error:
        if not keyring.exists():  # of a build beside us that was quicker
            message = f"{directory} cannot be made: {error.strerror or error}"
            raise StateError(message, hint="delete what is left of it and build again") from error
    finally:
        shutil.rmtree(partial.parent, ignore_errors=True)
    return keyring


def load_root(directory: Path, passphrase: bytes | None = None) -> Root:
    """Raises ConfigError when the key is missing, locked, or not the certificate's."""
    path = directory / "root.key"
    certificate = load_certificate(directory / "root.crt")
    try:
        if path.stat().st_mode & 0o077:
            logger.warning("%s can be read by others: `chmod 600 %s`", path, path)
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase)
    except FileNotFoundError as error:
        message = f"{path} is not there: only the root's key can do this"
        raise ConfigError(message, hint="work where the offline root is kept") from error
    except (OSError, ValueError, TypeError) as error:
        message = f"{path} cannot be read: {error}"
        raise ConfigError(message, hint="is --passphrase-file the right one?") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not same_key(
        key.public_key(), certificate.public_key()
    ):
        message = f"{path} is not the key of root.crt beside it"
        raise ConfigError(message, hint="one of them comes from another root")
    return Root(key=key, certificate=certificate)


def _write_revocations(
    directory: Path, root: Root, entries: Sequence[x509.RevokedCertificate], *, number: int = 1
) -> None:
    """The list, then the keyring: a cut in between is mended by revoking the same key again."""
    crl = make_crl(root.certificate, root.key, entries, number)
    write_atomic(directory / "revoked.crl", pem(crl))
    write_atomic(directory / "keyring.pem", pem(root.certificate) + pem(crl))


def _requested_key(request: Path) -> ec.EllipticCurvePublicKey:
    try:
        found = x509.load_pem_x509_csr(request.read_bytes())
    except (OSError, ValueError) as error:
        message = f"{request} is no PEM certificate request: {error}"
        raise ConfigError(
            message, hint="`openssl req -new` makes one, or the token's tool"
        ) from error
    public = found.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        message = f"{request} asks for another kind of key than ECDSA P-256"
        raise ConfigError(message, hint="make the key in the token with that curve")
    if not found.is_signature_valid:
        message = f"{request} is not signed by the key that it is for"
        raise ConfigError(message, hint="make the request again")
    return public


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> None:
    """PKCS#8 PEM, 0600 from the first byte on."""
    lock: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        lock = serialization.BestAvailableEncryption(passphrase)
    form = serialization.PrivateFormat.PKCS8
    write_atomic(path, key.private_bytes(serialization.Encoding.PEM, form, lock), mode=0o600)
