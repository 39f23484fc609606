"""The signing key: what makes this server itself."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from services.health.result import CheckResult, Examination, failed, passed
from services.plan import missing_identity

OTHERS = stat.S_IRWXO


@dataclass(frozen=True)
class IdentityCheck:
    name: str = "identity"
    title: str = "Signing key"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        key = examination.homeserver.signing_key(examination.paths)
        if not key.exists() or not key.stat().st_size:
            raise missing_identity(examination.homeserver, examination.paths)
        mode = stat.S_IMODE(key.stat().st_mode)
        if mode & OTHERS:
            return failed(f"{key} can be read by every program (mode {mode:o})", "chmod 640")
        return passed(f"present, mode {mode:o}")
