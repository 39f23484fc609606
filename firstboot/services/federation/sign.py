"""Signing JSON and requests as this server (Matrix specification, appendices, "Signing JSON";
server-server API, "Request Authentication").

With ``cryptography``, which the appliance has anyway: the signedjson package would bring libsodium
for what is ten lines here. Held to the specification's own test vectors.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from appliance.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "ed25519"
KEY_BYTES = 32
UNSIGNED = ("signatures", "unsigned")
DENDRITE_BEGIN = "-----BEGIN MATRIX PRIVATE KEY-----"


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """``identity`` is the key ID, "ed25519:a_abcd"; the key itself is never shown."""

    identity: str
    private: Ed25519PrivateKey = field(repr=False)

    def sign(self, message: bytes) -> str:
        return encode_base64(self.private.sign(message))


def canonical_json(value: Any) -> bytes:
    """The appendices' "Canonical JSON", with their own code. Raises ValueError for what has none:
    numbers that are not whole, half characters; and for what is nested deeper than can be walked.
    """
    try:
        if _has_float(value):
            raise ValueError("canonical JSON has no numbers but whole ones")
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return text.encode()


def sign_json(value: Mapping[str, Any], name: str, key: SigningKey) -> dict[str, Any]:
    """``value`` with our signature added to those that it has."""
    signed = {part: item for part, item in value.items() if part not in UNSIGNED}
    signatures = {by: dict(given) for by, given in value.get("signatures", {}).items()}
    signatures.setdefault(name, {})[key.identity] = key.sign(canonical_json(signed))
    return {**value, "signatures": signatures}


def is_signed(value: Mapping[str, Any], name: str, identity: str, public: bytes) -> bool:
    """Whether ``value`` bears ``name``'s signature by the key ``identity``."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        signature = decode_base64(value["signatures"][name][identity])
        unsigned = {part: item for part, item in value.items() if part not in UNSIGNED}
        Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical_json(unsigned))
    except (LookupError, TypeError, AttributeError, ValueError, InvalidSignature):
        return False  # whatever others may have put there in place of a signature
    return True


def authorize(key: SigningKey, *, origin: str, destination: str, method: str, target: str) -> str:
    """The Authorization header of a request without a body: the scheme X-Matrix."""
    request = {"method": method, "uri": target, "origin": origin, "destination": destination}
    signed = sign_json(request, origin, key)
    signature = signed["signatures"][origin][key.identity]
    return (
        f'X-Matrix origin="{origin}",destination="{destination}",'
        f'key="{key.identity}",sig="{signature}"'
    )


def read_signing_key(text: str) -> SigningKey:
    """The first key of Synapse's file, or Dendrite's. Raises ConfigError, without the content.

    Synapse writes ``ed25519 a_abcd SEED`` (signedjson), Dendrite a PEM block whose header
    ``Key-ID`` is the whole identity (dendrite/setup/config, readKeyPEM).
    """
    try:
        is_dendrite = text.lstrip().startswith(DENDRITE_BEGIN)
        identity, seed = _read_dendrite(text) if is_dendrite else _read_synapse(text)
        return make_signing_key(identity, seed)
    except (LookupError, ValueError):
        # From None: the parser's own message may hold a piece of the key.
        raise ConfigError(
            "the homeserver's signing key is not in a form that is known",
            hint="restore it from the recovery file or a backup",
        ) from None


def make_signing_key(identity: str, seed: bytes) -> SigningKey:
    """Raises ValueError for anything but 32 bytes and an ed25519 identity."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if identity.partition(":")[0] != ALGORITHM or len(seed) < KEY_BYTES:
        raise ValueError(ALGORITHM)
    private = Ed25519PrivateKey.from_private_bytes(seed[:KEY_BYTES])
    return SigningKey(identity=identity, private=private)


def _read_synapse(text: str) -> tuple[str, bytes]:
    algorithm, version, seed = text.strip().splitlines()[0].split()
    return f"{algorithm}:{version}", decode_base64(seed)


def _read_dendrite(text: str) -> tuple[str, bytes]:
    """Padded base64 of 32 random bytes, lines of 64 characters (RFC 7468 with old headers)."""
    head, _, body = text.strip().partition("\n\n")
    [identity] = [line.partition(":")[2].strip() for line in head.splitlines()
                  if line.startswith("Key-ID:")]  # fmt: skip
    lines = [line for line in body.splitlines() if not line.startswith("-----")]
    return identity, decode_base64("".join(lines))


def encode_base64(raw: bytes) -> str:
    """Without padding, as everywhere in Matrix (appendices, "Unpadded Base64")."""
    return base64.b64encode(raw).decode().rstrip("=")


def decode_base64(text: str) -> bytes:
    """With or without padding. Raises ValueError."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_float(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_float(item) for item in value)
    return isinstance(value, float)
