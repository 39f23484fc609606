"""The certificate that is served, as a client receives it."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass

from services.authority import authority_certificate
from services.health.result import CheckResult, Examination, failed, passed, warned

DAY = 86400
WARN_DAYS = 30
CONNECT_SECONDS = 30
PORT = 443
HINT = "look at: journalctl -u hearth-certificate"


@dataclass(frozen=True)
class CertificateCheck:
    name: str = "certificate"
    title: str = "Certificate"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        name = examination.server.server.name
        try:
            context = ssl.create_default_context(
                cafile=str(authority_certificate(examination.paths))
            )
            with (
                socket.create_connection(("127.0.0.1", PORT), CONNECT_SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=name) as tls,
            ):
                served = tls.getpeercert() or {}
        except OSError as error:  # ssl.SSLError is one
            return failed(f"no verified connection to https://{name}: {error}", HINT)
        ends = ssl.cert_time_to_seconds(str(served["notAfter"]))
        days = int((ends - time.time()) // DAY)
        evidence = f"for {name}, valid for {days} more days"
        return passed(evidence) if days >= WARN_DAYS else warned(evidence, HINT)
