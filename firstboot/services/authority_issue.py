"""Signing with the device's own certificate authority.

The root key exists from first boot to the end of setup only. Setup signs an intermediate that
may vouch for the server name, *.local and localhost and nothing else (RFC 5280, 4.2.1.10), and
then the root key is deleted: whoever steals the card later cannot pose as a bank to the people
who trust the root. So the root certificate, and its fingerprint, never change.
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.atomic import fsync_directory, write_atomic
from appliance.errors import StateError
from appliance.paths import Paths
from services.authority import authority_certificate, authority_key, device_file, issuer_file
from services.owners import find_owner

AUTHORITY_DAYS = 20 * 365
# Apple refuses more than 825 days even from private authorities (Apple support article 103769),
# and 398 from public ones, which other browsers have followed; we stay below both.
DEVICE_DAYS = 397
RENEW_DAYS = DEVICE_DAYS // 3
# A Pi has no clock of its own: at first boot it may be a little behind those who look at us.
BACKDATED = datetime.timedelta(days=1)
LOCAL_DOMAINS = ("local", "localhost")
READERS = "www-data"


@dataclass(frozen=True, kw_only=True)
class Signer:
    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate | None = None


def ensure_authority(paths: Paths) -> bool:
    """Make the root once; False when it was there."""
    if authority_certificate(paths).exists():
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    # A number in the name: an owner of two devices can tell their authorities apart.
    signer = Signer(name=_name(f"Hearth device authority {secrets.token_hex(2)}"), key=key)
    builder = _signing_builder(signer.name, signer, key, path_length=1)
    # The key first: a cut in between leaves no certificate, and both are made anew.
    write_atomic(authority_key(paths), _key_pem(key), mode=0o600)
    write_atomic(authority_certificate(paths), _pem(builder.sign(key, hashes.SHA256())))
    return True


def ensure_issuer(paths: Paths, server_name: str) -> bool:
    """Make the constrained intermediate once and delete the root's key; False when done before."""
    if issuer_file(paths).exists():
        has_more = authority_key(paths).exists()
        _forget_root_key(paths)
        return has_more
    root = _load_root(paths)
    key = ec.generate_private_key(ec.SECP256R1())
    permitted = [x509.DNSName(name) for name in (server_name, *LOCAL_DOMAINS)]
    builder = _signing_builder(_name(f"Hearth at {server_name}"[:64]), root, key, path_length=0)
    builder = builder.add_extension(
        x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True
    ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    certificate = builder.sign(root.key, hashes.SHA256())
    write_atomic(issuer_file(paths), _pem(certificate) + _key_pem(key), mode=0o600)
    _forget_root_key(paths)
    return True


def ensure_device_certificate(
    paths: Paths,
    names: Sequence[str],
    addresses: Sequence[str],
    *,
    now: datetime.datetime | None = None,
) -> bool:
    """Issue what nginx serves unless the present one will do; whether a new one was written."""
    now = now or datetime.datetime.now(datetime.UTC)
    signer = _load_signer(paths)
    wanted = _alternative_names(names, addresses)
    if _will_do(device_file(paths), signer, wanted, now):
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(names[0][:64]), signer, key, DEVICE_DAYS, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(wanted, critical=False)
    )
    chain = _pem(builder.sign(signer.key, hashes.SHA256()))
    if signer.certificate is not None:
        chain += _pem(signer.certificate)
    owner = find_owner(paths, "root", READERS)
    write_atomic(device_file(paths), chain + _key_pem(key), mode=0o640, owner=owner)
    return True


def certificate_names(server_name: str | None, local_names: Sequence[str]) -> tuple[str, ...]:
    """The DNS names to vouch for, the server name first, where there is one."""
    wanted = [server_name] if server_name else []
    return tuple(dict.fromkeys([*wanted, *local_names, "localhost"]))


def _will_do(
    file: Path, signer: Signer, wanted: x509.SubjectAlternativeName, now: datetime.datetime
) -> bool:
    try:
        present = x509.load_pem_x509_certificate(file.read_bytes())
        offered = present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        return False
    if present.issuer != signer.name or not set(wanted) <= set(offered):
        return False
    renew_at = present.not_valid_after_utc - datetime.timedelta(days=RENEW_DAYS)
    return present.not_valid_before_utc <= now < renew_at


def _alternative_names(
    names: Sequence[str], addresses: Sequence[str]
) -> x509.SubjectAlternativeName:
    numbers = dict.fromkeys(ipaddress.ip_address(text) for text in (*addresses, "127.0.0.1", "::1"))
    return x509.SubjectAlternativeName(
        [*(x509.DNSName(name) for name in names), *(x509.IPAddress(number) for number in numbers)]
    )


def _load_signer(paths: Paths) -> Signer:
    """The intermediate; before the end of setup the root itself."""
    if not issuer_file(paths).exists():
        return _load_root(paths)
    data = issuer_file(paths).read_bytes()
    certificate = x509.load_pem_x509_certificate(data)
    return Signer(name=certificate.subject, key=_load_key(data), certificate=certificate)


def _load_root(paths: Paths) -> Signer:
    try:
        certificate = x509.load_pem_x509_certificate(authority_certificate(paths).read_bytes())
        key = _load_key(authority_key(paths).read_bytes())
    except FileNotFoundError as error:
        message = f"the certificate authority's file {error.filename} is missing"
        raise StateError(message, hint=f"restore {paths.certificates} from a backup") from error
    return Signer(name=certificate.subject, key=key)


def _forget_root_key(paths: Paths) -> None:
    authority_key(paths).unlink(missing_ok=True)
    fsync_directory(paths.certificates)


def _signing_builder(
    subject: x509.Name, signer: Signer, key: ec.EllipticCurvePrivateKey, *, path_length: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        _builder(subject, signer, key, AUTHORITY_DAYS, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
    )


def _builder(
    subject: x509.Name,
    signer: Signer,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    now: datetime.datetime,
) -> x509.CertificateBuilder:
    public, parent = key.public_key(), signer.key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now - BACKDATED + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(parent), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, sign_certificates: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Hearth"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _load_key(data: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(data, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
