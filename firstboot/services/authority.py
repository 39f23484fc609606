"""The device's own certificate authority as others see it: files, download, fingerprint.

Signing is in services.authority_issue, which loads the cryptography package; this module is
light, because the agent keeps it in memory.

    authority.pem   the root certificate that owners install; its key never leaves the device
    authority.key   the root's key, 0600, only until setup is over (see authority_issue)
    issuer.pem      certificate and key that sign renewals, 0600
    device.pem      certificate, chain and key that nginx serves, 0640: one file, so that a power
                    cut cannot leave a certificate beside another's key
    device.addresses  one a line: what device.pem was issued for, since reading that takes a library
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.errors import StateError
from appliance.paths import Paths


def authority_certificate(paths: Paths) -> Path:
    return paths.certificates / "authority.pem"


def authority_key(paths: Paths) -> Path:
    return paths.certificates / "authority.key"


def issuer_file(paths: Paths) -> Path:
    return paths.certificates / "issuer.pem"


def device_file(paths: Paths) -> Path:
    return paths.certificates / "device.pem"


def certified_addresses(paths: Paths) -> frozenset[str] | None:
    """The addresses that device.pem was issued for; None before there is one."""
    try:
        text = _addresses_file(paths).read_text(errors="replace")
    except FileNotFoundError:
        return None
    return frozenset(text.split())


def note_addresses(paths: Paths, addresses: frozenset[str]) -> None:
    if addresses != certified_addresses(paths):
        write_atomic(_addresses_file(paths), "".join(f"{text}\n" for text in sorted(addresses)))


def _addresses_file(paths: Paths) -> Path:
    return paths.certificates / "device.addresses"


def authority_pem(paths: Paths) -> bytes:
    """The root certificate, for download. Raises StateError before it was made."""
    try:
        return authority_certificate(paths).read_bytes()
    except FileNotFoundError as error:
        message = "the device has no certificate authority yet"
        raise StateError(message, hint="it is made a minute after the first start") from error


def authority_fingerprint(paths: Paths) -> str:
    """SHA-256 over the root certificate, as browsers write it; empty before there is one."""
    try:
        pem = authority_certificate(paths).read_text()
    except FileNotFoundError:
        return ""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
