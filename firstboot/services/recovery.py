"""The recovery file: what a new card needs to be the same homeserver again, encrypted.

It holds the settings, the secrets that belong to the server's identity, the signing key and the
certificate authority; not the messages. Form, version 1:

    line 1   {"hearth-recovery": 1, "kdf": "scrypt", "n": ..., "r": ..., "p": ..., "salt": hex,
              "cipher": "aes-256-gcm", "nonce": hex, "server_name": ..., "created": ISO 8601}
    rest     the ciphertext with its 16-byte tag; line 1 with its newline is authenticated too

The plaintext is JSON: {"files": {path under /data: base64}}. scrypt is RFC 7914, AES-GCM is NIST
SP 800-38D; both from the cryptography package.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import tomli_w
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from appliance.errors import AccessError, ConfigError, StateError
from appliance.paths import Paths
from appliance.settings import Settings, load_secrets, load_settings
from appliance.tables import to_table
from services.authority import authority_certificate, issuer_file
from services.homeserver import find_homeserver

VERSION = 1
KDF = "scrypt"
CIPHER = "aes-256-gcm"
# 32 MiB and a second on a Pi 3: this file is attacked offline, unlike the sign-in page.
COST = 2**15
BLOCK = 8
PARALLEL = 1
# A forged header must not make us use all memory (128 * n * r bytes) or work for ever.
MAX_MEMORY = 256 * 1024 * 1024
MAX_PARALLEL = 4
KEY_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = 12
MAX_HEADER = 4096


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """An opened recovery file; ``files`` by their path under /data."""

    server_name: str
    created: str
    files: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first line, parsed; all of it is authenticated with the content."""

    n: int
    r: int
    p: int
    salt: bytes
    nonce: bytes
    server_name: str
    created: str

    def render(self) -> bytes:
        table = {
            "hearth-recovery": VERSION,
            "kdf": KDF,
            "n": self.n,
            "r": self.r,
            "p": self.p,
            "salt": self.salt.hex(),
            "cipher": CIPHER,
            "nonce": self.nonce.hex(),
            "server_name": self.server_name,
            "created": self.created,
        }
        return json.dumps(table).encode() + b"\n"

    def cipher(self, passphrase: str) -> AESGCM:
        kdf = Scrypt(salt=self.salt, length=KEY_BYTES, n=self.n, r=self.r, p=self.p)
        return AESGCM(kdf.derive(passphrase.encode()))


def make_recovery_file(paths: Paths, passphrase: str) -> bytes:
    """Collect and encrypt. Raises StateError before there is a server to recover."""
    settings = load_settings(paths.settings)
    if settings is None:
        message = "there is no recovery file yet: the appliance is not set up"
        raise StateError(message, hint="finish the setup first")
    header = Header(
        n=COST,
        r=BLOCK,
        p=PARALLEL,
        salt=os.urandom(SALT_BYTES),
        nonce=os.urandom(NONCE_BYTES),
        server_name=settings.server.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    found = _collect(paths, settings)
    files = {name: base64.b64encode(content).decode() for name, content in found.items()}
    plain = json.dumps({"files": files}).encode()
    line = header.render()
    return line + header.cipher(passphrase).encrypt(header.nonce, plain, line)


def open_recovery_file(data: bytes, passphrase: str) -> Recovery:
    """Raises ConfigError when it is no recovery file, AccessError for a wrong passphrase."""
    first, newline, _ = data[:MAX_HEADER].partition(b"\n")
    line = first + newline
    header = parse_header(line)
    try:
        plain = header.cipher(passphrase).decrypt(header.nonce, data[len(line) :], line)
    except InvalidTag as error:
        message = "the passphrase is wrong, or the recovery file was damaged or changed"
        hint = "type the passphrase that you chose for this file"
        raise AccessError(message, hint=hint) from error
    table = json.loads(plain)
    return Recovery(
        server_name=header.server_name,
        created=header.created,
        files={name: base64.b64decode(text) for name, text in table["files"].items()},
    )


def parse_header(line: bytes) -> Header:
    """Raises ConfigError for anything that we would not have written."""
    try:
        table: dict[str, Any] = json.loads(line)
        version = table["hearth-recovery"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError("this is not a recovery file of Hearth") from error
    if version != VERSION or (table.get("kdf"), table.get("cipher")) != (KDF, CIPHER):
        message = f"this recovery file has version {version!r}; we read version {VERSION}"
        raise ConfigError(message, hint="use the version of Hearth that made it, or a newer one")
    try:
        header = Header(
            n=int(table["n"]),
            r=int(table["r"]),
            p=int(table["p"]),
            salt=bytes.fromhex(table["salt"]),
            nonce=bytes.fromhex(table["nonce"]),
            server_name=str(table["server_name"]),
            created=str(table["created"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"this recovery file's first line is damaged: {error}") from error
    # RFC 7914 section 2: n is a power of two larger than 1
    is_sane = header.n > 1 and header.n & (header.n - 1) == 0
    is_sane = is_sane and header.r > 0 and 0 < header.p <= MAX_PARALLEL
    if not is_sane or 128 * header.n * header.r > MAX_MEMORY or len(header.nonce) != NONCE_BYTES:
        raise ConfigError("this recovery file's first line asks for what is not sane")
    return header


def _collect(paths: Paths, settings: Settings) -> dict[str, bytes]:
    secrets = load_secrets(paths.secrets)
    # A password that waits to be used, or a claim on this very box, is not part of an identity.
    kept = replace(secrets, pending_password="", claim_hash="")
    key = find_homeserver(settings.server.software).signing_key(paths)
    if not key.exists():
        raise StateError(f"the signing key {key} is missing", hint="finish the setup first")
    files = {
        "hearth/settings.toml": paths.settings.read_bytes(),
        "hearth/secrets.toml": tomli_w.dumps(to_table(kept)).encode(),
        str(key.relative_to(paths.data)): key.read_bytes(),
    }
    for file in (authority_certificate(paths), issuer_file(paths)):
        if file.exists():
            files[str(file.relative_to(paths.data))] = file.read_bytes()
    return files
