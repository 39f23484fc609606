"""What the agent answers: the results that ``appliance.protocol`` carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from appliance.settings import TUNNEL_PORT, RamClass, Reach, Software, Way
from appliance.state import Phase


class CheckState(StrEnum):
    """How far a measurement is; ``lost`` is one that was started and left no result."""

    NONE = "none"
    RUNNING = "running"
    DONE = "done"
    LOST = "lost"


class Judgement(StrEnum):
    GOOD = "good"
    UNSURE = "unsure"
    BAD = "bad"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a check found, in the owner's words; all but ``state`` count only once it is done.

    ``kind`` is the finding's short name, for example "cgnat"; ``evidence`` what was seen, a line
    each. Nothing in it is secret.
    """

    state: CheckState = CheckState.NONE
    judgement: Judgement = Judgement.UNSURE
    kind: str = ""
    headline: str = ""
    evidence: tuple[str, ...] = ()
    next_step: str = ""


# Among what is outside: the way in through the router, that there is none on purpose, and whether
# other servers get in.
PORTS, HOME, FEDERATION = "ports", "home", "federation"


@dataclass(frozen=True, kw_only=True)
class Outside:
    """One thing that must be right before the world can reach us, as its job saw it last."""

    name: str
    title: str
    judgement: Judgement
    detail: str
    next_step: str = ""


@dataclass(frozen=True, kw_only=True)
class Status:
    """``data``: "ok", "found" (an earlier Hearth's), "damaged" or "missing"; ``names``: *.local.

    ``notes``: sentences about what else is wrong, for example in the owner's hearth.toml.
    ``outside`` is empty for a server that only the home network reaches. In ``rescue`` mode neither
    slot started often enough to be trusted, and no homeserver runs. The data of before a factory
    reset, those of ``kept_name``, can be brought back for ``kept_hours`` more of running.
    ``memory`` in MiB, ``ram`` what everything is sized for. ``claim_by_password``: the password
    that was set in Raspberry Pi Imager opens the claim page as well.
    """

    phase: Phase
    version: str
    development: bool
    board: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    data: str
    data_detail: str = ""
    clock_synchronised: bool = False
    server_name: str = ""
    software: str = ""
    client_url: str = ""
    owner_name: str = ""
    authority_fingerprint: str = ""
    notes: tuple[str, ...] = ()
    outside: tuple[Outside, ...] = ()
    rescue: bool = False
    kept_hours: int = 0
    kept_name: str = ""
    memory: int = 0
    ram: RamClass = RamClass.GB1
    claim_by_password: bool = False

    @property
    def is_public(self) -> bool:
        return bool(self.outside)

    @property
    def stays_home(self) -> bool:
        """Whether its name is known to the world and leads to the home network, as chosen."""
        return any(one.name == HOME for one in self.outside)

    @property
    def is_reachable(self) -> bool:
        """Whether the world can reach it."""
        return self.is_settled and not self.stays_home

    @property
    def is_settled(self) -> bool:
        """Whether its public name works where it shall, as far as can be told from the inside.

        Ports that were forwarded by hand are not seen here; a certificate proves that they were.
        Nor must somebody outside have looked, as long as nobody says that nothing arrives.
        """
        return self.is_public and all(
            one.judgement is Judgement.GOOD
            or (one.name in (PORTS, FEDERATION) and one.judgement is Judgement.UNSURE)
            for one in self.outside
        )


@dataclass(frozen=True, kw_only=True)
class Looked:
    """One thing that was looked at, for page "federation": what was seen, and how good that is."""

    title: str
    judgement: Judgement
    detail: str


@dataclass(frozen=True, kw_only=True)
class Federation:
    """``found.evidence`` is empty: ``parts`` tell it. ``at`` and ``asked`` (when somebody outside
    was asked last) are seconds since the epoch, 0 for never; ``is_wanted`` is false for a server
    that no other is meant to reach.
    """

    is_wanted: bool = False
    found: Measured = field(default_factory=Measured)
    at: float = 0.0
    asked: float = 0.0
    parts: tuple[Looked, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Mishap:
    """One start that went wrong: what was tried, why it was given up, the last lines of its log.

    ``at`` in seconds since the epoch, by a clock that may have been wrong.
    """

    at: float
    version: str
    slot: str
    reason: str
    log: str = ""


@dataclass(frozen=True, kw_only=True)
class Rescue:
    """For rescue mode's page; the newest mishap first. ``log`` is this start's own so far.

    ``restorable``: the program whose database, of ``restorable_at``, can be gone back to; empty
    where there is none, or where the database still is as that one left it.
    """

    mishaps: tuple[Mishap, ...] = ()
    log: str = ""
    restorable: str = ""
    restorable_at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Session:
    token: str = field(repr=False)


# The owner's own DNS leads here; nobody has to be told our address.
OWN_DNS = "none"


@dataclass(frozen=True, kw_only=True)
class WayOffer:
    """A way in, as it stands for this connection and provider.

    ``obstacle`` is why it cannot be; ``caution`` what the owner has to do before it works.
    """

    way: Way
    is_recommended: bool = False
    obstacle: str = ""
    caution: str = ""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """Empty strings are questions not answered yet; ``software_chosen`` after SaveHomeserver.

    ``provider`` is one of GetProviders' or OWN_DNS; ``names`` are all those that must lead here,
    ``client_url`` the one that apps connect to: both only for a public server. ``ways`` are those
    that page "way" offers, the best first; ``way_chosen`` after SaveWay, and as long as the choice
    can be. ``tunnel_server`` counts for Way.TUNNEL.
    """

    revision: int = 0
    owner_name: str = ""
    timezone: str = ""
    has_password: bool = False
    network_seen: bool = False
    server_name: str = ""
    reach: Reach = Reach.LAN
    provider: str = ""
    ddns_name: str = ""
    ddns_username: str = ""
    ddns_endpoint: str = ""
    has_ddns_secret: bool = False
    address_note: str = ""
    names: tuple[str, ...] = ()
    client_url: str = ""
    way: Way = Way.PORTS
    port: int = 443
    way_chosen: bool = False
    ways: tuple[WayOffer, ...] = ()
    tunnel_server: str = ""
    tunnel_port: int = TUNNEL_PORT
    software: Software = Software.SYNAPSE
    software_chosen: bool = False
    network: Measured = field(default_factory=Measured)
    address: Measured = field(default_factory=Measured)
    tunnel: Measured = field(default_factory=Measured)


@dataclass(frozen=True, kw_only=True)
class FormField:
    label: str
    help: str


@dataclass(frozen=True, kw_only=True)
class ProviderForm:
    """What a DDNS provider wants to know; what is None is not asked for.

    ``suffixes`` are those of the names that it gives away; none, where owners bring a domain.
    """

    id: str
    title: str
    site: str
    name: FormField
    secret: FormField
    username: FormField | None = None
    endpoint: FormField | None = None
    suffixes: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Providers:
    """In the order in which they should be offered."""

    forms: tuple[ProviderForm, ...]


@dataclass(frozen=True, kw_only=True)
class Done:
    """Nothing to tell."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file to offer for download; ``content`` is base64."""

    name: str
    content: str = field(repr=False)
