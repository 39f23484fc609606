"""The certificate authority that the box's own HTTPS servers are signed by, and whom hosts trust.

Pebble makes a new root at each start, as Let's Encrypt's staging would not be trusted either; hosts
of the box trust both, so that a browser or an HTTP client in it behaves as in the real world.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from world.internet.host import Host

LIFETIME = datetime.timedelta(days=90)
# A clock that is a little behind must not make the certificates invalid.
MARGIN = datetime.timedelta(days=1)


class Authority:
    """A root of its own for every world; nothing is kept."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Internet in a box")])
        builder = _builder(self._name, self._name, self._key)
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = builder.add_extension(constraints, critical=True).add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, names: Iterable[str], certificate: Path, key_file: Path) -> None:
        """Write a server's certificate and key for host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = list(names)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            _builder(subject, self._name, key)
            .add_extension(
                x509.SubjectAlternativeName([_general(n) for n in names]), critical=False
            )
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - MARGIN)
        .not_valid_after(now + LIFETIME)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def install_roots(host: Host, roots: list[str]) -> None:
    """Make a host trust these authorities, both as one bundle and as OpenSSL's directory."""
    directory = host.etc / "ssl" / "certs"
    directory.mkdir(parents=True, exist_ok=True)
    for number, root in enumerate(roots):
        (directory / f"world-{number}.pem").write_text(root)
    (directory / "ca-certificates.crt").write_text("".join(roots))
    host.run(["openssl", "rehash", "/etc/ssl/certs"])
