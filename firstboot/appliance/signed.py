"""What somebody signed: CMS signed-data (RFC 5652) that leads to a keyring of ours.

A keyring is a PEM file: root certificates, then their revocation lists (CRL, RFC 5280). The builder
and the appliance verify alike, by openssl(1) and by the rules of RAUC's check-purpose=codesign.

Time is left to the caller. Appliances start in 1970, and openssl compares a CRL's dates as well,
although a CRL's number is what tells the newer one.

Each look into a certificate or a list starts a program, and one check meets the same few again and
again: what openssl has found good is remembered while the process lives. What it has refused is
not; that may have been for want of memory.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from appliance.errors import SignatureError
from appliance.run import run

OPENSSL_SECONDS = 60
REMEMBERED = 32  # texts of a kilobyte or two
CERTIFICATE, CRL = "CERTIFICATE", "X509 CRL"
# RFC 7468 section 2: what stands between two blocks is explanation.
PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n.+?\n-----END \1-----\n?", re.DOTALL)
# Our root only, not what the system trusts; and each certificate of the chain against a CRL.
CHAIN = ("-no-CApath", "-no-CAstore", "-purpose", "any", "-no_check_time")
NAME = ("-nameopt", "RFC2253")
HINT = "get it from the place that it was published at; somebody may have changed it on the way"


@dataclass(frozen=True, kw_only=True)
class Signed:
    """``not_before`` and ``not_after`` bound the signer's certificate, seconds since the epoch."""

    content: bytes = field(repr=False)
    signer: str
    not_before: float
    not_after: float

    def check_time(self, now: float) -> None:
        """Raises SignatureError when the signer's certificate is not valid at ``now``."""
        if now < self.not_before:
            raise SignatureError(
                f"its signer {self.signer} is valid from {_day(self.not_before)} on, "
                f"and it is {_day(now)}",
                hint="set the clock",
            )
        if now > self.not_after:
            raise SignatureError(
                f"its signer {self.signer} was valid until {_day(self.not_after)}",
                hint="it has to be signed again with a key that is in use",
            )


def verify(message: bytes, keyring: Path, *, even_revoked: bool = False) -> Signed:
    """The content of ``message`` (CMS, DER), when one release key of ``keyring`` has signed it.

    Raises SignatureError for anything else, also when that key was revoked. ``even_revoked`` is for
    a publisher who has to read what the stolen key once signed; never for an appliance.
    """
    chain = CHAIN if even_revoked else ("-crl_check_all", *CHAIN)
    with tempfile.TemporaryDirectory(prefix="hearth-signed-") as name:
        place = Path(name)
        received, content, signer = (place / part for part in ("message", "content", "signer.pem"))
        received.write_bytes(message)
        result = run(
            ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", received,
             "-CAfile", keyring, *chain, "-signer", signer, "-out", content],
            check=False, timeout=OPENSSL_SECONDS,
        )  # fmt: skip
        if result.returncode != 0:
            raise SignatureError(_explain(result.stderr), hint=HINT)
        return replace(_describe(signer.read_text()), content=content.read_bytes())


def _explain(said: str) -> str:
    """openssl's reason in a sentence; what it prints before is where in its source it is."""
    if found := re.search(r"Verify error: ?(.+)", said):
        reasons = {
            "certificate revoked": "its signer's key was revoked",
            "self-signed certificate in certificate chain": "it was signed by a stranger",
            "unable to get local issuer certificate": "it was signed by a stranger",
            "unable to get certificate CRL": "there is no revocation list for its signer",
        }
        said = found.group(1).strip()
        return reasons.get(said, f"its signer is not accepted: {said}")
    if "verification failure" in said or "digest" in said:
        return "it was changed after it was signed"
    return "it is not signed"


@lru_cache(REMEMBERED)
def _describe(signer: str) -> Signed:
    """What is signed by this certificate (PEM), without its content yet. RAUC's own rules for a
    release key (src/signature.c, check_purpose_code_sign).
    """
    if len(split_pem(signer, CERTIFICATE)) != 1:
        raise SignatureError("it was signed by more than one", hint=HINT)
    said = run(
        ["openssl", "x509", "-noout", "-subject", *NAME, "-dates", "-dateopt", "iso_8601",
         "-ext", "keyUsage,extendedKeyUsage"],
        input=signer, timeout=OPENSSL_SECONDS,
    ).stdout  # fmt: skip
    values = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    signed = Signed(
        content=b"",
        signer=values["subject"],
        not_before=_seconds(values["notBefore"]),
        not_after=_seconds(values["notAfter"]),
    )
    usage, extended = _usage(said, "Key Usage"), _usage(said, "Extended Key Usage")
    if "Code Signing" not in extended or (usage and "Digital Signature" not in usage):
        message = f"{signed.signer} is no release key: its certificate is for something else"
        raise SignatureError(message, hint=HINT)
    return signed


def _usage(said: str, title: str) -> list[str]:
    found = re.search(rf"^X509v3 {title}:.*\n +(.+)$", said, re.MULTILINE)
    return [one.strip() for one in found.group(1).split(",")] if found else []


def split_pem(text: str, label: str) -> list[str]:
    """All blocks of ``label`` in ``text``, each as it stands there."""
    return [one.group() for one in PEM_BLOCK.finditer(text) if one.group(1) == label]


@dataclass(frozen=True, kw_only=True)
class RevocationList:
    """``number`` only ever grows (RFC 5280 section 5.2.3); ``issuer`` is a root's subject."""

    pem: str = field(repr=False)
    issuer: str
    number: int


@lru_cache(REMEMBERED)
def read_crl(pem: str) -> RevocationList:
    """Raises SignatureError for what is none, or has no number."""
    argv = ["openssl", "crl", "-noout", "-issuer", *NAME, "-crlnumber"]
    result = run(argv, input=pem, check=False, timeout=OPENSSL_SECONDS)
    issuer = re.search(r"^issuer=(.*)$", result.stdout, re.MULTILINE)
    number = re.search(r"^crlNumber=(?:0x)?([0-9A-Fa-f]+)$", result.stdout, re.MULTILINE)
    if result.returncode != 0 or issuer is None or number is None:
        raise SignatureError("this is no revocation list with a number", hint=HINT)
    return RevocationList(pem=pem, issuer=issuer.group(1), number=int(number.group(1), 16))


def newest_crls(roots: Iterable[str], lists: Iterable[str]) -> tuple[RevocationList, ...]:
    """For each root the list with the highest number that this root has signed; all as PEM.

    openssl takes the list with the latest date, and for two of one date the first: so a keyring
    must hold just one of each root.
    """
    found: list[RevocationList] = []
    candidates = [read_crl(pem) for pem in dict.fromkeys(lists)]
    for root in roots:
        signed = [one for one in candidates if _is_signed(one, root)]
        found += [max(signed, key=lambda one: one.number)] if signed else []
    return tuple(found)


def _is_signed(crl: RevocationList, root: str) -> bool:
    try:
        _require_signed(crl.pem, root)
    except SignatureError:
        return False
    return True


@lru_cache(REMEMBERED)
def _require_signed(crl: str, root: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hearth-signed-") as name:
        file = Path(name) / "root.pem"
        file.write_text(root)
        said = run(
            ["openssl", "crl", "-noout", "-verify", "-CAfile", file, "-no-CApath", "-no-CAstore"],
            input=crl, check=False, timeout=OPENSSL_SECONDS,
        ).stderr  # fmt: skip
    # openssl 3.0 ends with 0 also when it says "verify failure".
    if "verify OK" not in said.splitlines():
        raise SignatureError("this list is not by this root", hint=HINT)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
