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
from appliance.settings import load_secrets, load_settings
from appliance.tables import to_table
from services.authority import authority_certificate, issuer_file
from services.homeserver import find_homeserver

VERSION = 1
# 32 MiB and a second on a Pi 3: this file is attacked offline, unlike the sign-in page.
COST = 2**15
BLOCK = 8
PARALLEL = 1
# A forged header must not make us use all memory: n * r * 128 bytes.
MAX_COST = 2**20
MAX_BLOCK = 16
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


def make_recovery_file(paths: Paths, passphrase: str) -> bytes:
    """Collect and encrypt. Raises StateError before there is a server to recover."""
    settings = load_settings(paths.settings)
    if settings is None:
        message = "there is no recovery file yet: the appliance is not set up"
        raise StateError(message, hint="finish the setup first")
    header = {
        "hearth-recovery": VERSION,
        "kdf": "scrypt",
        "n": COST,
        "r": BLOCK,
        "p": PARALLEL,
        "salt": os.urandom(SALT_BYTES).hex(),
        "cipher": "aes-256-gcm",
        "nonce": os.urandom(NONCE_BYTES).hex(),
        "server_name": settings.server.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    line = json.dumps(header).encode() + b"\n"
    files = {name: base64.b64encode(content).decode() for name, content in _collect(paths).items()}
    plain = json.dumps({"files": files}).encode()
    return line + _cipher(header, passphrase).encrypt(_nonce(header), plain, line)


def open_recovery_file(data: bytes, passphrase: str) -> Recovery:
    """Raises ConfigError when it is no recovery file, AccessError for a wrong passphrase."""
    header, line, sealed = _split(data)
    try:
        plain = _cipher(header, passphrase).decrypt(_nonce(header), sealed, line)
    except InvalidTag as error:
        message = "the passphrase is wrong, or the recovery file was damaged or changed"
        raise AccessError(
            message, hint="type the passphrase that you chose for this file"
        ) from error
    table = json.loads(plain)
    return Recovery(
        server_name=str(header["server_name"]),
        created=str(header["created"]),
        files={name: base64.b64decode(text) for name, text in table["files"].items()},
    )


def _collect(paths: Paths) -> dict[str, bytes]:
    settings = load_settings(paths.settings)
    assert settings is not None
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


def _split(data: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    first, newline, _ = data[: MAX_HEADER + 1].partition(b"\n")
    line = first + newline
    try:
        header = json.loads(first)
        version = header["hearth-recovery"]
        numbers = tuple(int(header[name]) for name in ("n", "r", "p"))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError("this is not a recovery file of Hearth") from error
    if version != VERSION or (header.get("kdf"), header.get("cipher")) != ("scrypt", "aes-256-gcm"):
        message = f"this recovery file has version {version!r}; we read version {VERSION}"
        raise ConfigError(message, hint="use the version of Hearth that made it, or a newer one")
    if not all(
        0 < value <= limit
        for value, limit in zip(numbers, (MAX_COST, MAX_BLOCK, MAX_PARALLEL), strict=True)
    ):
        raise ConfigError(f"this recovery file asks for scrypt with {numbers}, which is not sane")
    return header, line, data[len(line) :]


def _cipher(header: Mapping[str, Any], passphrase: str) -> AESGCM:
    try:
        kdf = Scrypt(
            salt=bytes.fromhex(header["salt"]),
            length=KEY_BYTES,
            n=header["n"],
            r=header["r"],
            p=header["p"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"this recovery file's header is damaged: {error}") from error
    return AESGCM(kdf.derive(passphrase.encode()))


def _nonce(header: Mapping[str, Any]) -> bytes:
    nonce = bytes.fromhex(str(header.get("nonce", "")))
    if len(nonce) != NONCE_BYTES:
        raise ConfigError("this recovery file's header is damaged: the nonce's length")
    return nonce
