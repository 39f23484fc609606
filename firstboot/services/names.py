"""The names under which the world knows us, and which of them does what."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.settings import Reach, Settings

HTTPS = 443


@dataclass(frozen=True, kw_only=True)
class PublicNames:
    """``server`` is part of every Matrix ID; ``homeserver`` answers for it (Matrix specification,
    server-server API, "Resolving server names"); ``client`` is kept free for a web client, which
    must not share a host with the homeserver (element-web's security notice).
    """

    server: str
    homeserver: str
    client: str | None = None
    port: int = HTTPS

    @property
    def all(self) -> tuple[str, ...]:
        """Every name that must lead here and be certified, the server name first."""
        names = [self.server, self.homeserver, *([self.client] if self.client else [])]
        return tuple(dict.fromkeys(names))

    @property
    def client_url(self) -> str:
        at = "" if self.port == HTTPS else f":{self.port}"
        return f"https://{self.homeserver}{at}"

    @property
    def delegate(self) -> str:
        """What .well-known/matrix/server says: with it, one port is enough."""
        return f"{self.homeserver}:{self.port}"


def public_names(settings: Settings) -> PublicNames | None:
    """None for a server that only the home network reaches."""
    if settings.server.reach is not Reach.PUBLIC or settings.public is None:
        return None
    name = settings.server.name
    port = settings.public.port
    if not settings.public.sub_names:
        return PublicNames(server=name, homeserver=name, port=port)
    return PublicNames(server=name, homeserver=f"matrix.{name}", client=f"chat.{name}", port=port)


def client_url(settings: Settings) -> str:
    """Where clients find the homeserver."""
    names = public_names(settings)
    return names.client_url if names else f"https://{settings.server.name}"
