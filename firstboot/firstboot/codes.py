"""The claim code's form: making, showing and forgiving comparison."""

from __future__ import annotations

import hmac
import os

from appliance.errors import ConfigError

# Crockford's base 32 (crockford.com/base32.html): no I, L, O, U. Eight characters are 40 bits.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_BYTES = 5
CODE_LENGTH = 8
FORGIVEN = str.maketrans({"O": "0", "I": "1", "L": "1"})

MIN_PRESET = 10
MAX_PRESET = 64
MIN_DISTINCT = 6
GUESSABLE = ("1234567890", "0123456789", "QWERTYUIOP", "QWERTZUIOP", "ABCDEFGHIJ", "PASSWORD",
             "RASPBERRY", "HEARTH", "MATRIX", "CLAIMCODE")  # fmt: skip


def make_code() -> str:
    """Eight random characters of base 32, without the hyphen."""
    number = int.from_bytes(os.urandom(CODE_BYTES), "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def show_code(code: str) -> str:
    """``XXXX-XXXX`` for a code of ours; an owner's own code as it is."""
    return f"{code[:4]}-{code[4:]}" if len(code) == CODE_LENGTH else code


def normalise_code(text: str) -> str:
    """What is compared: capitals, no blanks or hyphens, O as 0, I and L as 1."""
    kept = "".join(char for char in text.upper() if char not in "-_ \t\r\n\u2010\u2011\u2013")
    return kept.translate(FORGIVEN)


def is_same_code(given: str, expected: str) -> bool:
    """Constant-time comparison of two codes, both as people may have typed them."""
    return hmac.compare_digest(_bytes(given), _bytes(expected))


def _bytes(text: str) -> bytes:
    return normalise_code(text).encode("utf-8", "surrogatepass")


def check_preset_code(code: str) -> str:
    """An owner's own claim code from hearth.toml; as hard to guess as 40 bits, roughly.

    Raises ConfigError.
    """
    folded = normalise_code(code)
    hint = f"at least {MIN_PRESET} letters and digits; or leave the line out and Hearth makes one"
    if not folded.isascii() or not folded.isalnum():
        raise ConfigError("claim_code may have only letters, digits, spaces and hyphens", hint=hint)
    if len(folded) < MIN_PRESET:
        message = f"claim_code has {len(folded)} letters and digits; {MIN_PRESET} is the least"
        raise ConfigError(message, hint=hint)
    if len(folded) > MAX_PRESET:
        raise ConfigError(f"claim_code is longer than {MAX_PRESET} characters", hint=hint)
    rest = folded
    for word in GUESSABLE:
        rest = rest.replace(normalise_code(word), "")
    if len(set(folded)) < MIN_DISTINCT or len(rest) < MIN_PRESET // 2:
        raise ConfigError("claim_code is easy to guess", hint=hint)
    return code
