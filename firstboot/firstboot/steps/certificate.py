"""HTTPS for the server name, signed by the device's own authority."""

from __future__ import annotations

from dataclasses import dataclass

from firstboot.certificate import ensure_certificate
from firstboot.steps.context import Context
from services import proxy


@dataclass(frozen=True)
class IssueCertificate:
    name: str = "certificate"
    title: str = "Issuing the certificate"

    def is_done(self, context: Context) -> bool:
        """Asked and answered in one: looking at it needs the same work as keeping it."""
        return False

    def apply(self, context: Context) -> None:
        ensure_certificate(context.paths, final=True)
        # Also for one that was there: an earlier run may have ended before nginx had read it.
        if context.units.is_active(proxy.UNIT):
            context.units.reload(proxy.UNIT)
