"""By whom the certificate of the server name is verified, as a client at home would do it."""

from __future__ import annotations

from pathlib import Path

from appliance.paths import Paths
from appliance.settings import Settings
from services import proxy
from services.authority import authority_certificate
from services.names import public_names

# What every program on Debian trusts (package ca-certificates, update-ca-certificates(8)).
EVERYBODYS = Path("etc/ssl/certs/ca-certificates.crt")


def is_certified(paths: Paths, settings: Settings) -> bool:
    """Whether nginx serves the name with a certificate of a public authority."""
    return public_names(settings) is not None and proxy.public_file(paths).exists()


def trusted_authorities(paths: Paths, settings: Settings) -> Path:
    """A file of authorities: our own until the name has a certificate that everybody trusts."""
    if is_certified(paths, settings):
        return paths.root / EVERYBODYS
    return authority_certificate(paths)
