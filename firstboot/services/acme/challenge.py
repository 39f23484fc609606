"""How we prove that a name is ours: a file on port 80, or a record in DNS (RFC 8555, section 8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.errors import CertificateError
from appliance.paths import Paths
from services.owners import ensure_directory

# RFC 8555 section 8.3: a token is base64url; it becomes a file name here.
TOKEN = re.compile(r"[A-Za-z0-9_-]{16,256}")


class Answerer(Protocol):
    """One kind of challenge. ``kind`` is its name in RFC 8555, section 9.7.8."""

    @property
    def kind(self) -> str: ...

    @property
    def one_at_a_time(self) -> bool:
        """Whether only one name can be proved at any moment: some providers keep one TXT value."""
        ...

    def present(self, name: str, token: str, validation: str) -> None:
        """Put the answer in place; return only once the world can see it."""
        ...

    def remove(self, name: str, token: str, validation: str) -> None: ...


@dataclass(frozen=True)
class Webroot:
    """HTTP-01: nginx serves this directory on the public port 80, and nothing else there."""

    paths: Paths
    kind: str = "http-01"
    one_at_a_time: bool = False

    def present(self, name: str, token: str, validation: str) -> None:
        if not TOKEN.fullmatch(token):
            raise CertificateError(f"the authority sent a token that is none: {token[:40]!r}")
        ensure_directory(self.paths, webroot(self.paths), mode=0o755)
        file = webroot(self.paths) / token
        file.write_text(validation)
        file.chmod(0o644)

    def remove(self, name: str, token: str, validation: str) -> None:
        (webroot(self.paths) / token).unlink(missing_ok=True)


def webroot(paths: Paths) -> Path:
    return paths.runtime / "acme-challenge"
