"""The administrator's account, proved by a login through the front door."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import ConflictError
from appliance.log import logger
from firstboot.steps.context import Context
from services.homeserver.api import check_login, create_admin
from services.trust import trusted_authorities


@dataclass(frozen=True)
class CreateAdministrator:
    name: str = "account"
    title: str = "Creating the administrator's account"

    def is_done(self, context: Context) -> bool:
        """The password is forgotten by the last step, once everything has been seen to work."""
        return not context.secrets.pending_password

    def apply(self, context: Context) -> None:
        """An account from an interrupted run will do if the password opens it (AccessError)."""
        settings, secrets = context.settings, context.secrets
        try:
            create_admin(
                context.homeserver,
                context.paths,
                name=settings.owner.name,
                password=secrets.pending_password,
                shared_secret=secrets.registration_shared_secret,
            )
        except ConflictError as error:
            logger.info("%s; trying its password", error.message)
        context.report("logging in once, as a client would")
        check_login(
            settings.server.name,
            name=settings.owner.name,
            password=secrets.pending_password,
            authority=trusted_authorities(context.paths, settings),
        )
