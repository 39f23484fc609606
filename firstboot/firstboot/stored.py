"""The wizard's answers as they lie on the card, and the settings that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from appliance.settings import (
    TUNNEL_PORT,
    Device,
    Owner,
    Public,
    Reach,
    Server,
    Settings,
    Software,
    Tunnel,
    Way,
)

LABELS = {
    "owner_name": "your name",
    "timezone": "the time zone",
    "password": "the password",
    "server_name": "the server name",
    "reach": "who can reach it",
    "provider": "what makes the name lead here",
    "ddns_name": "what makes the name lead here",
    "ddns_username": "what makes the name lead here",
    "ddns_endpoint": "what makes the name lead here",
    "ddns_secret": "the token or password of the provider",
    "way": "the way in",
    "port": "the way in",
    "tunnel_server": "the rented server",
    "tunnel_port": "the rented server",
    "software": "the homeserver",
}


@dataclass(frozen=True, kw_only=True)
class StoredDraft:
    """The answers, and for each the revision that changed it last.

    ``address_for`` is the server name for which page "address" was answered; ``address_note`` what
    its answer made us say.
    """

    revision: int = 0
    owner_name: str = ""
    timezone: str = ""
    network_seen: bool = False
    server_name: str = ""
    reach: Reach = Reach.LAN
    provider: str = ""
    ddns_name: str = ""
    ddns_username: str = ""
    ddns_endpoint: str = ""
    address_for: str = ""
    address_note: str = ""
    way: Way = Way.PORTS
    port: int = 443
    tunnel_server: str = ""
    tunnel_port: int = TUNNEL_PORT
    software: Software = Software.SYNAPSE
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def is_public(self) -> bool:
        return self.reach is Reach.PUBLIC

    @property
    def has_address(self) -> bool:
        """Whether page "address" was answered, for the name as it is now."""
        return bool(self.provider) and self.address_for == self.server_name

    @property
    def address_number(self) -> int:
        """Another one for every other answer to page "address" or about the server's name."""
        return max((self.changed.get(key, 0) for key in ADDRESS_KEYS), default=0)

    @property
    def tunnel(self) -> Tunnel | None:
        """The rented server, where the world shall come in through one."""
        if not (self.is_public and self.way is Way.TUNNEL and self.tunnel_server):
            return None
        return Tunnel(server=self.tunnel_server, port=self.tunnel_port)

    @property
    def lacks_tunnel(self) -> bool:
        return self.is_public and self.way is Way.TUNNEL and not self.tunnel_server

    @property
    def tunnel_number(self) -> int:
        """The same as address_number, for page "tunnel"."""
        return max(self.changed.get(key, 0) for key in ("tunnel_server", "tunnel_port"))


ADDRESS_KEYS = ("provider", "ddns_name", "ddns_username", "ddns_endpoint", "ddns_secret",
                "server_name")  # fmt: skip


def settings_from(
    draft: StoredDraft, *, ssh_keys: tuple[str, ...] = (), own_sub_names: bool = False
) -> Settings:
    """What the owner decided, as the services read it.

    ``own_sub_names``: the owner's own DNS leads matrix.NAME and chat.NAME here, as was measured.
    """
    public = public_settings(draft)
    if public is not None and own_sub_names:
        public = replace(public, sub_names=True)
    return Settings(
        owner=Owner(name=draft.owner_name),
        device=Device(timezone=draft.timezone, ssh_keys=ssh_keys),
        server=Server(name=draft.server_name, reach=draft.reach, software=draft.software),
        public=public,
    )


def public_settings(draft: StoredDraft) -> Public | None:
    """None for a server that only the home network reaches."""
    if not draft.is_public:
        return None
    from firstboot.address_answers import AddressAnswers, public_of

    answers = AddressAnswers(
        provider=draft.provider,
        name=draft.ddns_name,
        username=draft.ddns_username,
        endpoint=draft.ddns_endpoint,
    )
    public = public_of(draft.server_name, answers)
    return replace(public, way=draft.way, port=draft.port, tunnel=draft.tunnel)
