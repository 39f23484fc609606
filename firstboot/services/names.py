"""The names under which the world knows us, and which of them does what."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.settings import Reach, Settings


@dataclass(frozen=True, kw_only=True)
class PublicNames:
    """``server`` is part of every Matrix ID; ``homeserver`` answers for it (Matrix specification,
    server-server API, "Resolving server names"); ``client`` is kept free for a web client, which
    must not share a host with the homeserver (element-web's security notice).
    """

    server: str
    homeserver: str
    client: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """Every name that must lead here and be certified, the server name first."""
        names = [self.server, self.homeserver, *([self.client] if self.client else [])]
        return tuple(dict.fromkeys(names))

    @property
    def client_url(self) -> str:
        return f"https://{self.homeserver}"

    @property
    def delegate(self) -> str:
        """What .well-known/matrix/server says: with it, 443 alone is enough."""
        return f"{self.homeserver}:443"


def public_names(settings: Settings) -> PublicNames | None:
    """None for a server that only the home network reaches."""
    if settings.server.reach is not Reach.PUBLIC or settings.public is None:
        return None
    name = settings.server.name
    if not settings.public.sub_names:
        return PublicNames(server=name, homeserver=name)
    return PublicNames(server=name, homeserver=f"matrix.{name}", client=f"chat.{name}")


def client_url(settings: Settings) -> str:
    """Where clients find the homeserver."""
    names = public_names(settings)
    return names.client_url if names else f"https://{settings.server.name}"
