"""What the owner decided (settings.toml) and what nobody may read (secrets.toml)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import tomli_w

from appliance.atomic import write_atomic
from appliance.errors import ConfigError
from appliance.release import Channel
from appliance.tables import parse_table, to_table

VERSION = 1
TUNNEL_PORT = 51820  # WireGuard's usual one
T = TypeVar("T")


class Reach(StrEnum):
    """Who can reach the homeserver."""

    LAN = "lan"
    PUBLIC = "public"


class Software(StrEnum):
    """The homeserver program."""

    SYNAPSE = "synapse"
    DENDRITE = "dendrite"


class RamClass(StrEnum):
    """Boards by the memory they are sold with (services.sizing)."""

    MB512 = "512mb"
    GB1 = "1gb"
    GB2 = "2gb"
    GB4 = "4gb"
    GB8 = "8gb"

    @property
    def label(self) -> str:
        """As people write it: "512 MB", "1 GB"."""
        return f"{self.value[:-2]} {self.value[-2:].upper()}"


class Way(StrEnum):
    """How what comes from outside gets in: the rungs of a ladder, the best one first."""

    PORTS = "ports"  # the router's 80, 443 and 8448, over IPv4 and, where it can, IPv6
    IPV6 = "ipv6"  # the same ports over IPv6 alone
    PORT = "port"  # one port other than 443
    TUNNEL = "tunnel"  # through a machine of the owner's that has a public address
    HOME = "home"  # not at all: the name leads to the home network's address


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The administrator; ``name`` is the localpart of the Matrix user ID."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Device:
    """Without ``memory`` everything is sized for the memory that there is."""

    timezone: str = "Etc/UTC"
    ssh_keys: tuple[str, ...] = ()
    memory: RamClass | None = None


@dataclass(frozen=True, kw_only=True)
class Server:
    """``name`` is the Matrix server name: part of every ID, never changeable."""

    name: str
    reach: Reach = Reach.LAN
    software: Software = Software.SYNAPSE


@dataclass(frozen=True, kw_only=True)
class Ddns:
    """The name that follows our address, updated at ``provider`` (a row of services.ddns).

    ``name`` is fully qualified. ``endpoint`` is an update URL or a name server's address, for the
    providers whose row asks for one. Its password or token is Secrets.ddns_secret.
    """

    provider: str
    name: str
    username: str = ""
    endpoint: str = ""


@dataclass(frozen=True, kw_only=True)
class Tunnel:
    """A machine with a public address that hands on what comes in: by WireGuard, still sealed.

    ``server`` is its name or address, ``port`` where its WireGuard listens (UDP). The keys are in
    Secrets.
    """

    server: str
    port: int = TUNNEL_PORT


@dataclass(frozen=True, kw_only=True)
class Public:
    """How the world reaches us; without ``ddns`` the owner's DNS leads to a fixed address.

    With ``sub_names`` the server name delegates to matrix.NAME and chat.NAME beneath it; without,
    everything is under the one name. ``port`` is what clients connect to: another one than 443
    only with Way.PORT. ``tunnel`` is there with Way.TUNNEL.
    """

    way: Way = Way.PORTS
    port: int = 443
    ddns: Ddns | None = None
    sub_names: bool = False
    tunnel: Tunnel | None = None


@dataclass(frozen=True, kw_only=True)
class Updates:
    """``window`` is when the appliance may restart by itself, in its own time zone ("03:00-05:00").

    Without ``automatic`` the owner is told of a release and starts it. An empty ``url`` means the
    address that the image was built with. ``verdict_minutes``: how long a new version may take to
    prove itself healthy.
    """

    automatic: bool = True
    channel: Channel = Channel.STABLE
    url: str = ""
    window: str = "03:00-05:00"
    verdict_minutes: int = 15


@dataclass(frozen=True, kw_only=True)
class Settings:
    version: int = VERSION
    owner: Owner
    device: Device
    server: Server
    public: Public | None = None
    updates: Updates = field(default_factory=Updates)


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """Only root reads these. ``pending_password`` exists from review to the account's creation."""

    owner_password_hash: str = field(default="", repr=False)
    claim_hash: str = field(default="", repr=False)
    registration_shared_secret: str = field(default="", repr=False)
    macaroon_secret_key: str = field(default="", repr=False)
    form_secret: str = field(default="", repr=False)
    pending_password: str = field(default="", repr=False)
    ddns_secret: str = field(default="", repr=False)
    tunnel_key: str = field(default="", repr=False)
    tunnel_vps_key: str = field(default="", repr=False)
    tunnel_vps_public: str = field(default="", repr=False)
    tunnel_preshared: str = field(default="", repr=False)


def load_toml(cls: type[T], path: Path) -> T:
    """Read one of our TOML files. Raises ConfigError naming the file and the line."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"cannot read {path}: {error}"
        raise ConfigError(message) from error
    return parse_table(cls, table, where=path.name)


def save_toml(
    value: object, path: Path, *, mode: int, owner: tuple[int, int] | None = None
) -> None:
    write_atomic(path, tomli_w.dumps(to_table(value)), mode=mode, owner=owner)


def load_settings(path: Path) -> Settings | None:
    """The settings, or None before the wizard has been through."""
    return load_toml(Settings, path) if path.exists() else None


def load_secrets(path: Path) -> Secrets:
    return load_toml(Secrets, path) if path.exists() else Secrets()
