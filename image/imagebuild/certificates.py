"""X.509 as updates use it: made here, read here; where the files are is the business of `keys`.

RFC 5280 throughout. A release certificate is good for signing code and nothing else, which is what
`check-purpose=codesign` of RAUC and of OpenSSL asks for.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.errors import ConfigError

# The signing machine's clock may be a little behind the one that made the certificate.
BACKDATED = datetime.timedelta(days=1)


def make_root_certificate(
    key: ec.EllipticCurvePrivateKey,
    name: x509.Name,
    now: datetime.datetime,
    ends: datetime.datetime,
) -> x509.Certificate:
    usage = _usage(key_cert_sign=True, crl_sign=True)
    return (
        _builder(name, name, key.public_key(), now, ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def make_release_certificate(
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    public: ec.EllipticCurvePublicKey,
    name: str,
    now: datetime.datetime,
    ends: datetime.datetime,
) -> x509.Certificate:
    subject = make_name(f"{common_name(root)} release {name}", unit_of(root))
    signing = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    return (
        _builder(subject, root.subject, public, now, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(signing, critical=True)
        .add_extension(_authority(root), critical=False)
        .sign(root_key, hashes.SHA256())
    )


def make_crl(
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    entries: Sequence[x509.RevokedCertificate],
    number: int,
) -> x509.CertificateRevocationList:
    """As old as the root and valid as long, whenever it is made; ``number`` tells which is newer.

    OpenSSL compares both dates with the time at which a bundle was signed (RAUC's
    use-bundle-signing-time). A list "not yet valid" then would refuse every older bundle, and one
    that has ended every newer one.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.subject)
        .last_update(root.not_valid_before_utc)
        .next_update(root.not_valid_after_utc)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority(root), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(root_key, hashes.SHA256())


def make_entry(serial: int, now: datetime.datetime) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
    reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
    return builder.add_extension(reason, critical=False).build()


def make_name(title: str, unit: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, title)]
    if unit:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    return x509.Name(parts)


def load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(message, hint="`hearth keys show DIR` lists what is there") from error
    except ValueError as error:
        message = f"{path} is no PEM certificate"
        raise ConfigError(message, hint="it begins with -----BEGIN CERTIFICATE-----") from error


def load_crl(path: Path) -> x509.CertificateRevocationList:
    try:
        return x509.load_pem_x509_crl(path.read_bytes())
    except (OSError, ValueError) as error:
        message = f"{path} is no PEM revocation list: {error}"
        raise ConfigError(message, hint="take it from a copy of the root's directory") from error


def crl_number(crl: x509.CertificateRevocationList) -> int:
    """RFC 5280, 5.2.3: grows with every list; 0 when the list has none."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def unit_of(certificate: x509.Certificate) -> str:
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return str(units[0].value) if units else ""


def pem(item: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return item.public_bytes(serialization.Encoding.PEM)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 in hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def same_key(first: object, second: object) -> bool:
    """Whether two public keys are one; another kind of key than ECDSA never is."""
    if not isinstance(first, ec.EllipticCurvePublicKey):
        return False
    return isinstance(second, ec.EllipticCurvePublicKey) and first == second


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(certificate: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)
