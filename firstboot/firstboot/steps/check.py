"""The last look, through nginx and with the certificate verified; then the password goes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.errors import NetworkError
from appliance.secretfile import change_secrets
from firstboot.certificate import local_names
from firstboot.steps.context import Context
from services.authority import authority_certificate
from services.homeserver.api import client_versions
from services.http import ask_https
from services.trust import trusted_authorities

SERVER_ERROR = 500


@dataclass(frozen=True)
class CheckEverything:
    name: str = "check"
    title: str = "Checking that everything answers"

    def is_done(self, context: Context) -> bool:
        return False

    def apply(self, context: Context) -> None:
        """Raises NetworkError naming what does not answer."""
        authority = authority_certificate(context.paths)
        server_name = context.settings.server.name
        trusted = trusted_authorities(context.paths, context.settings)
        if not client_versions(server_name, authority=trusted):
            raise NetworkError(f"https://{server_name} offers no version of the Matrix API")
        for name in local_names(context.paths):
            answer = ask_https(name, "/", authority=authority)
            if answer.status >= SERVER_ERROR:
                message = f"https://{name} answers {answer.status} instead of the pages"
                raise NetworkError(message, hint="look at: journalctl -u hearth-ui")
        change_secrets(context.paths, lambda known: replace(known, pending_password=""))
