"""Secrets that people type, hashed for storage with scrypt (RFC 7914)."""

from __future__ import annotations

import base64
import hmac
import os

# 16 MiB and about a quarter of a second on a Pi 3: dear to guess, bearable once per sign-in. That
# is a fifth of what OWASP's password storage cheat sheet advises (p=5): guesses at the page are
# limited by firstboot.throttle, and whoever has stolen the card holds the messages themselves.
COST = 2**14
BLOCK = 8
PARALLEL = 1
SALT_BYTES = 16
HASH_BYTES = 32
SCHEME = "scrypt"


def hash_secret(secret: str) -> str:
    """``scrypt$N$r$p$salt$hash``, with the parameters so that they can be raised later."""
    salt = os.urandom(SALT_BYTES)
    digest = _scrypt(secret, salt, COST, BLOCK, PARALLEL)
    return "$".join((SCHEME, str(COST), str(BLOCK), str(PARALLEL), _text(salt), _text(digest)))


def verify_secret(secret: str, stored: str) -> bool:
    """Whether ``secret`` made ``stored``; False as well for a stored value that is not ours."""
    parts = stored.split("$")
    try:
        scheme, cost, block, parallel, salt, digest = parts
        if scheme != SCHEME:
            return False
        expected = base64.b64decode(digest, validate=True)
        made = _scrypt(
            secret, base64.b64decode(salt, validate=True), int(cost), int(block), int(parallel)
        )
    except ValueError:
        return False
    return hmac.compare_digest(made, expected)


def _scrypt(secret: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    import hashlib  # OpenSSL: loaded by the resident agent only when somebody signs in

    return hashlib.scrypt(
        secret.encode("utf-8", "surrogatepass"),
        salt=salt, n=cost, r=block, p=parallel, dklen=HASH_BYTES,
        maxmem=256 * cost * block,
    )  # fmt: skip


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
