"""A throwaway root with release keys under it, made by openssl as an offline root would be.

What is tested with it is the release path: nothing in the code knows which root it is. Most tests
have a copy of one (``usual_root``); whoever else signs in a test makes a root of its own.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

CONFIG = """
[ca]
default_ca = root
[root]
database = {place}/index.txt
crlnumber = {place}/crlnumber
serial = {place}/serial
new_certs_dir = {place}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[root_extensions]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[release_extensions]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = codeSigning
authorityKeyIdentifier = keyid
[mail_extensions]
basicConstraints = critical,CA:false
extendedKeyUsage = emailProtection
authorityKeyIdentifier = keyid
"""
P256 = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


@dataclass(frozen=True)
class Signer:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Root:
    """``place`` holds all its files; ``name`` is its subject."""

    place: Path
    name: str = "Test root"

    @property
    def certificate(self) -> Path:
        return self.place / "root.crt"

    @property
    def keyring(self) -> Path:
        return self.place / "keyring.pem"

    @property
    def signer(self) -> Signer:
        """The key that ``usual_root`` has from the beginning."""
        return Signer(self.place / "release.crt", self.place / "release.key")

    def release(
        self, name: str, *, begins: float = -86400, days: float = 365, extensions: str = "release"
    ) -> Signer:
        """A key under this root; ``begins`` in seconds from now, ``days`` from then on."""
        signer = Signer(self.place / f"{name}.crt", self.place / f"{name}.key")
        request = self.place / f"{name}.csr"
        openssl("req", "-new", *P256, "-subj", f"/CN={name}", "-keyout", signer.key,
                "-out", request)  # fmt: skip
        start = datetime.now(UTC) + timedelta(seconds=begins)
        dates = [f"{one:%Y%m%d%H%M%SZ}" for one in (start, start + timedelta(days=days))]
        self._ca("-batch", "-notext", "-in", request, "-startdate", dates[0], "-enddate", dates[1],
                 "-extensions", f"{extensions}_extensions", "-out", signer.certificate)  # fmt: skip
        return signer

    def revoke(self, signer: Signer) -> bytes:
        self._ca("-revoke", signer.certificate)
        return self.crl()

    def crl(self) -> bytes:
        """A new one, with the next number. Always from the root's first day on, without an end:
        with RAUC's use-bundle-signing-time it is looked at as of the day of the signature.
        """
        target = self.place / "revoked.crl"
        self._ca("-gencrl", "-crl_lastupdate", "20200101000000Z", "-crl_nextupdate",
                 "99991231235959Z", "-out", target)  # fmt: skip
        return target.read_bytes()

    def write_keyring(self, crl: bytes | None = None) -> Path:
        self.keyring.write_bytes(self.certificate.read_bytes() + (crl or self.crl()))
        return self.keyring

    def _ca(self, *argv: object) -> None:
        openssl("ca", "-config", self.place / "ca.conf", "-keyfile", self.place / "root.key",
                "-cert", self.certificate, *argv)  # fmt: skip


def make_root(place: Path, name: str = "Test root") -> Root:
    place.mkdir(parents=True)
    root = Root(place, name)
    (place / "ca.conf").write_text(CONFIG.format(place=place))
    (place / "index.txt").write_text("")
    (place / "crlnumber").write_text("01\n")
    (place / "serial").write_text("1000\n")
    openssl("req", "-x509", *P256, "-subj", f"/CN={name}", "-days", 3650,
            "-config", write_request_config(place), "-extensions", "root_extensions",
            "-keyout", place / "root.key", "-out", root.certificate)  # fmt: skip
    root.write_keyring()
    return root


def usual_root(place: Path) -> Root:
    """A copy at ``place`` of the root that this process has, with its ``signer``."""
    original = _usual_root()
    shutil.copytree(original.place, place)
    (place / "ca.conf").write_text(CONFIG.format(place=place))
    return replace(original, place=place)


@cache
def _usual_root() -> Root:
    directory = tempfile.mkdtemp(prefix="hearth-root-")
    atexit.register(shutil.rmtree, directory)
    root = make_root(Path(directory) / "keys")
    root.release("release")
    return root


def write_request_config(place: Path) -> Path:
    """`openssl req` wants a section of its own."""
    path = place / "req.conf"
    head = "[req]\ndistinguished_name = name\n[name]\n"
    path.write_text(head + CONFIG.format(place=place))
    return path


def sign(content: bytes, signer: Signer, *, extra: tuple[str, ...] = ()) -> bytes:
    """CMS signed-data with the content in it, DER."""
    return openssl("cms", "-sign", "-binary", "-nodetach", "-nosmimecap", "-md", "sha256",
                   "-outform", "DER", "-signer", signer.certificate, "-inkey", signer.key,
                   *extra, input=content)  # fmt: skip


def openssl(*argv: object, input: bytes = b"") -> bytes:
    command = ["openssl", *(str(part) for part in argv)]
    result = subprocess.run(command, input=input, capture_output=True, check=False)
    assert result.returncode == 0, (command, result.stderr.decode())
    return result.stdout
