"""The keys of both halves: Curve25519 as wg(8) writes it, and a preshared one on top."""

from __future__ import annotations

import base64
import secrets as random
from dataclasses import replace

from appliance.paths import Paths
from appliance.secretfile import change_secrets
from appliance.settings import Secrets

KEY_BYTES = 32


def make_keys(secrets: Secrets) -> Secrets:
    """New keys for both ends; a half that was installed with the old ones is of no use any more."""
    vps_key = _make_private()
    return replace(
        secrets,
        tunnel_key=_make_private(),
        tunnel_vps_key=vps_key,
        tunnel_vps_public=public_key(vps_key),
        tunnel_preshared=base64.b64encode(random.token_bytes(KEY_BYTES)).decode(),
    )


def ensure_keys(paths: Paths) -> Secrets:
    """The secrets, with keys for a tunnel; made and saved where there are none yet."""
    return change_secrets(paths, lambda known: known if has_keys(known) else make_keys(known))


def has_keys(secrets: Secrets) -> bool:
    """Whether our half can be written; the other one's private key may be forgotten by now."""
    return bool(secrets.tunnel_key and secrets.tunnel_vps_public and secrets.tunnel_preshared)


def forget_keys(secrets: Secrets) -> Secrets:
    return replace(
        secrets, tunnel_key="", tunnel_vps_key="", tunnel_vps_public="", tunnel_preshared=""
    )


def public_key(private: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.from_private_bytes(base64.b64decode(private))
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def _make_private() -> str:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return base64.b64encode(X25519PrivateKey.generate().private_bytes_raw()).decode()
