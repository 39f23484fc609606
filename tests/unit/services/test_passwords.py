from __future__ import annotations

import pytest

from services.passwords import hash_secret, verify_secret


def test_it_knows_its_own_and_salts() -> None:
    one, two = hash_secret("correct horse"), hash_secret("correct horse")
    assert one != two
    assert verify_secret("correct horse", one)
    assert not verify_secret("correct horsf", one)


def test_it_agrees_with_the_vector_of_rfc_7914() -> None:
    """RFC 7914 section 12, the third vector, its output cut to 32 bytes by the same PBKDF2."""
    import hashlib

    from services import passwords

    made = hashlib.scrypt(
        b"pleaseletmein", salt=b"SodiumChloride", n=16384, r=8, p=1, dklen=64, maxmem=2**26
    )
    assert made.hex().startswith("7023bdcb3afd7348461c06cd81fd38eb")
    assert passwords._scrypt("pleaseletmein", b"SodiumChloride", 16384, 8, 1) == made[:32]


@pytest.mark.parametrize(
    "stored",
    ["", "x", "scrypt$1$2", "scrypt$x$8$1$AAAA$AAAA", "bcrypt$16384$8$1$AAAA$AAAA",
     "scrypt$16384$8$1$!$AAAA", "scrypt$16383$8$1$AAAA$AAAA"],
)  # fmt: skip
def test_what_is_not_a_hash_of_ours_opens_nothing(stored: str) -> None:
    assert not verify_secret("", stored)
    assert not verify_secret("x", stored)


def test_odd_characters() -> None:
    assert verify_secret("p\u00e4ss \ud800", hash_secret("p\u00e4ss \ud800"))
