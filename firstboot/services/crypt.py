"""Passwords that another program has hashed with crypt(3), as Raspberry Pi Imager does.

Python has no crypt module any more (PEP 594); libxcrypt, which every Debian system has, is asked.
"""

from __future__ import annotations

import hmac
import re

LIBRARY = "libcrypt.so.1"
# crypt(5): yescrypt, gost-yescrypt, scrypt, SHA-512 and SHA-256; nothing weaker.
HASH = re.compile(r"\$(y|gy|7|6|5)\$[./0-9A-Za-z$,=]{10,300}")


def is_hash(text: str) -> bool:
    return HASH.fullmatch(text) is not None


def verify_crypt(secret: str, stored: str) -> bool:
    """Whether ``secret`` made ``stored``; False for a hash that libxcrypt does not know."""
    if not is_hash(stored) or "\0" in secret:
        return False
    import ctypes  # loaded by the resident agent only when somebody signs in

    library = ctypes.CDLL(LIBRARY)
    library.crypt_ra.restype = ctypes.c_char_p
    library.crypt_ra.argtypes = [
        ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(ctypes.c_int),
    ]  # fmt: skip
    data, size = ctypes.c_void_p(), ctypes.c_int()
    raw = secret.encode("utf-8", "surrogatepass")
    made = library.crypt_ra(raw, stored.encode(), ctypes.byref(data), ctypes.byref(size))
    library.free.argtypes = [ctypes.c_void_p]
    library.free(data)
    return made is not None and hmac.compare_digest(made, stored.encode())
