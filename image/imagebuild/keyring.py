"""A keyring: what an appliance trusts its updates by. One PEM file, roots first, then their lists.

RAUC reads it as it is (`[keyring] path=`, with `check-crl=true`), so that each root needs its list,
even if nothing was ever revoked.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from appliance.errors import ConfigError
from imagebuild.certificates import common_name, unit_of

DEVELOPMENT = "development"  # the organizational unit of a checkout's own root
CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----\n?", re.DOTALL)
MAKE = "`hearth keys init-root DIR` makes a whole one, DIR/keyring.pem"


@dataclass(frozen=True, kw_only=True)
class Keyring:
    roots: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]

    @property
    def is_development(self) -> bool:
        return any(unit_of(root) == DEVELOPMENT for root in self.roots)

    def crl_of(self, root: x509.Certificate) -> x509.CertificateRevocationList | None:
        """The list that this root has signed."""
        return next((crl for crl in self.crls if _signed_by(crl, root)), None)


def load_keyring(path: Path) -> Keyring:
    """Raises ConfigError for what is no keyring, or holds what must never be published."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        message = f"keyring {path} cannot be read: {error.strerror}"
        raise ConfigError(message, hint=MAKE) from error
    if b"PRIVATE KEY-----" in raw:
        message = f"{path} holds a private key, and a keyring goes into every image"
        raise ConfigError(message, hint="give keyring.pem of the root's directory instead")
    try:
        roots = x509.load_pem_x509_certificates(raw)
        crls = [x509.load_pem_x509_crl(block) for block in CRL_BLOCK.findall(raw)]
    except ValueError as error:
        message = f"{path} is no keyring: {error}"
        raise ConfigError(message, hint=MAKE) from error
    return Keyring(roots=tuple(roots), crls=tuple(crls))


def check_keyring(path: Path, *, release: bool = False) -> Keyring:
    """A keyring by which an appliance can check every update it will ever get, or ConfigError.

    For a ``release`` its root must be somebody's own.
    """
    keyring = load_keyring(path)
    for root in keyring.roots:
        problem = _problem(root, keyring.crl_of(root))
        if problem is not None:
            raise ConfigError(f"{path}: {common_name(root)!r} {problem}", hint=MAKE)
    if release and keyring.is_development:
        message = f"{path} is a development keyring: its root's key lies where it was built"
        raise ConfigError(message, hint="`hearth keys init-root DIR` makes one to keep offline")
    return keyring


def _problem(root: x509.Certificate, crl: x509.CertificateRevocationList | None) -> str | None:
    """Why this root cannot be trusted by, or None."""
    now = datetime.datetime.now(datetime.UTC)
    if not _is_authority(root):
        return "is no root: a self-signed certificate that may sign certificates and lists"
    if crl is None:
        return "has no revocation list that it has signed, and RAUC then refuses everything"
    if root.not_valid_after_utc < now:
        return f"ended on {root.not_valid_after_utc:%Y-%m-%d}"
    if crl.next_update_utc is None or crl.next_update_utc < root.not_valid_after_utc:
        return "has a revocation list that ends before itself: updates would stop on that day"
    if crl.last_update_utc > now:
        return "has a revocation list of the future: what is signed today would not count"
    return None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return basic.ca and usage.key_cert_sign and usage.crl_sign


def _signed_by(crl: x509.CertificateRevocationList, root: x509.Certificate) -> bool:
    key = root.public_key()
    try:
        return crl.issuer == root.subject and crl.is_signature_valid(key)  # type: ignore[arg-type]
    except TypeError:  # a kind of key that signs no lists
        return False
