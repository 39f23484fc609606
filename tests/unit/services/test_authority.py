"""The device's certificate authority, judged by openssl as a client would judge it."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.errors import StateError
from appliance.paths import Paths
from services.authority import (
    authority_certificate,
    authority_fingerprint,
    authority_key,
    authority_pem,
    device_file,
    issuer_file,
)
from services.authority_issue import (
    DEVICE_DAYS,
    certificate_names,
    ensure_authority,
    ensure_device_certificate,
    ensure_issuer,
)

NAME = "home.example.org"
LOCAL = ("hearth-0a1b.local", "hearth.local")
ADDRESS = "192.0.2.10"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "data" / "certificates").mkdir(parents=True)
    return Paths(tmp_path)


@pytest.fixture
def complete(paths: Paths) -> Paths:
    ensure_authority(paths)
    ensure_issuer(paths, NAME)
    ensure_device_certificate(paths, certificate_names(NAME, LOCAL), [ADDRESS])
    return paths


def openssl(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *argv], capture_output=True, text=True, check=False)


def verify(paths: Paths, file: Path, *checks: str) -> bool:
    """Leaf first and then the chain in one file, as nginx sends them."""
    result = openssl(
        "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile",
        str(authority_certificate(paths)), "-untrusted", str(file), *checks, str(file),
    )  # fmt: skip
    return result.returncode == 0


@pytest.mark.parametrize("name", [NAME, *LOCAL, "localhost"])
def test_openssl_accepts_every_name_and_address(complete: Paths, name: str) -> None:
    assert verify(complete, device_file(complete), "-verify_hostname", name)
    assert verify(complete, device_file(complete), "-verify_ip", ADDRESS)
    assert not verify(complete, device_file(complete), "-verify_hostname", "example.com")


def test_before_setup_the_root_signs_for_local_names(paths: Paths) -> None:
    ensure_authority(paths)
    assert ensure_device_certificate(paths, certificate_names(None, LOCAL), [ADDRESS])
    assert verify(paths, device_file(paths), "-verify_hostname", "hearth.local")
    assert not issuer_file(paths).exists()


def test_setup_gives_up_the_roots_key_and_keeps_its_certificate(paths: Paths) -> None:
    ensure_authority(paths)
    before = authority_fingerprint(paths)
    assert ensure_issuer(paths, NAME)
    assert not authority_key(paths).exists()
    assert not ensure_issuer(paths, NAME), "once"
    assert not ensure_authority(paths)
    assert authority_fingerprint(paths) == before


@pytest.mark.parametrize(("name", "is_allowed"), [(NAME, True), ("bank.example.com", False)])
def test_whoever_steals_the_card_cannot_pose_as_a_bank(
    complete: Paths, name: str, is_allowed: bool
) -> None:
    data = issuer_file(complete).read_bytes()
    issuer = x509.load_pem_x509_certificate(data)
    key = serialization.load_pem_private_key(data, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    stolen = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(stolen.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain = complete.root / "stolen.pem"
    pem = serialization.Encoding.PEM
    chain.write_bytes(certificate.public_bytes(pem) + issuer.public_bytes(pem))
    result = openssl(
        "verify", "-CAfile", str(authority_certificate(complete)), "-untrusted", str(chain),
        str(chain),
    )  # fmt: skip
    assert (result.returncode == 0) is is_allowed, result.stderr
    if not is_allowed:
        assert "permitted subtree violation" in result.stderr


def test_certificate_lives_shorter_than_apple_allows(complete: Paths) -> None:
    leaf = x509.load_pem_x509_certificate(device_file(complete).read_bytes())
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc <= datetime.timedelta(days=398)


def test_certificate_is_kept_until_it_must_be_renewed(complete: Paths) -> None:
    names = certificate_names(NAME, LOCAL)
    before = device_file(complete).read_bytes()
    assert not ensure_device_certificate(complete, names, [ADDRESS])
    assert device_file(complete).read_bytes() == before
    now = datetime.datetime.now(datetime.UTC)
    later = now + datetime.timedelta(days=DEVICE_DAYS * 2 // 3 + 1)
    assert ensure_device_certificate(complete, names, [ADDRESS], now=later)
    assert ensure_device_certificate(complete, names, [ADDRESS], now=now), "the clock went back"


def test_a_new_address_or_name_brings_a_new_certificate(complete: Paths) -> None:
    names = certificate_names(NAME, LOCAL)
    assert ensure_device_certificate(complete, names, ["198.51.100.7"])
    assert ensure_device_certificate(complete, (*names, "other.local"), ["198.51.100.7"])
    assert not ensure_device_certificate(complete, names, []), "fewer are covered already"


def test_damaged_certificate_is_replaced(complete: Paths) -> None:
    device_file(complete).write_text("garbage")
    assert ensure_device_certificate(complete, certificate_names(NAME, LOCAL), [ADDRESS])
    assert verify(complete, device_file(complete), "-verify_hostname", NAME)


def test_a_cut_between_key_and_certificate_of_the_root_is_made_good(paths: Paths) -> None:
    authority_key(paths).write_text("left by a cut")
    assert ensure_authority(paths)
    ensure_device_certificate(paths, LOCAL, [])
    assert verify(paths, device_file(paths))


def test_a_lost_issuer_is_not_replaced_silently(complete: Paths) -> None:
    issuer_file(complete).unlink()
    with pytest.raises(StateError, match="is missing"):
        ensure_issuer(complete, NAME)


def test_keys_are_for_root_and_nginx_only(complete: Paths) -> None:
    assert oct(issuer_file(complete).stat().st_mode)[-3:] == "600"
    assert oct(device_file(complete).stat().st_mode)[-3:] == "640"


def test_fingerprint_and_download_agree_with_openssl(complete: Paths) -> None:
    output = openssl(
        "x509", "-in", str(authority_certificate(complete)), "-noout", "-fingerprint", "-sha256"
    ).stdout
    assert output.strip().partition("=")[2] == authority_fingerprint(complete)
    assert b"PRIVATE" not in authority_pem(complete)


def test_before_there_is_one(paths: Paths) -> None:
    assert authority_fingerprint(paths) == ""
    with pytest.raises(StateError, match="no certificate authority yet"):
        authority_pem(paths)
