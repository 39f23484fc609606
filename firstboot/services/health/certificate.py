"""The certificate that is served, as a client receives it."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass

from services.health.result import CheckResult, Examination, failed, passed, warned
from services.trust import is_certified, trusted_authorities

DAY = 86400
WARN_DAYS = 30
# A public one is renewed when a third of its ninety days is left (services.acme.contract).
PUBLIC_WARN_DAYS = 20
CONNECT_SECONDS = 30
PORT = 443
HINT = "look at: journalctl -u hearth-certificate"
PUBLIC_HINT = "look at: journalctl -u hearth-acme"


@dataclass(frozen=True)
class CertificateCheck:
    name: str = "certificate"
    title: str = "Certificate"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        name = examination.server.server.name
        is_public = is_certified(examination.paths, examination.server)
        hint = PUBLIC_HINT if is_public else HINT
        try:
            trusted = trusted_authorities(examination.paths, examination.server)
            context = ssl.create_default_context(cafile=str(trusted))
            with (
                socket.create_connection(("127.0.0.1", PORT), CONNECT_SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=name) as tls,
            ):
                served = tls.getpeercert() or {}
        except OSError as error:  # ssl.SSLError is one
            return failed(f"no verified connection to https://{name}: {error}", hint)
        ends = ssl.cert_time_to_seconds(str(served["notAfter"]))
        days = int((ends - time.time()) // DAY)
        evidence = f"for {name}, valid for {days} more days"
        least = PUBLIC_WARN_DAYS if is_public else WARN_DAYS
        return passed(evidence) if days >= least else warned(evidence, hint)
