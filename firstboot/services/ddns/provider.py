"""What is known of a DDNS provider, and what an owner has there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

DAY = 86400.0


class Protocol(StrEnum):
    DYNDNS2 = "dyndns2"
    DUCKDNS = "duckdns"
    DESEC = "desec"
    CLOUDFLARE = "cloudflare"
    DYNV6 = "dynv6"
    NAMECHEAP = "namecheap"
    FREEDNS = "freedns"
    RFC2136 = "rfc2136"


class Txt(StrEnum):
    """What the provider's protocol can do for ACME's dns-01 challenge."""

    NONE = "none"
    ONE = "one"  # a single value for the name and all beneath it: one challenge at a time
    MANY = "many"


class Ipv6(StrEnum):
    """How an IPv6 address is told; the forms differ only within dyndns2."""

    NONE = "none"
    OWN = "own"  # the protocol's own way
    COMMA = "comma"  # myip=IPV4,IPV6
    MYIPV6 = "myipv6"


class SubNames(StrEnum):
    """Whether matrix.NAME and chat.NAME can exist beside NAME."""

    AUTOMATIC = "automatic"  # whatever is beneath the name has its addresses
    MADE = "made"  # we can make them
    MANUAL = "manual"  # the owner can make them on the provider's page
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of the wizard's form."""

    label: str
    help: str


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One row of services.ddns.providers; what is None is not asked for.

    ``api`` is a second address that the protocol needs. ``suffixes`` are those of the names that
    the provider gives away; none, where owners bring their own domain. ``public_suffix`` says
    whether all of them are on the public suffix list, so that every owner has a registered domain
    of their own in Let's Encrypt's eyes; None without suffixes. ``min_interval`` is in seconds.
    ``refresh`` is set where a name that is not updated for long expires.
    ``removes``: an address that is gone can be taken out.
    """

    id: str
    title: str
    protocol: Protocol
    site: str
    name: Field
    secret: Field
    username: Field | None = None
    endpoint_field: Field | None = None
    endpoint: str = ""
    api: str = ""
    suffixes: tuple[str, ...] = ()
    public_suffix: bool | None = None
    ipv6: Ipv6 = Ipv6.NONE
    txt: Txt = Txt.NONE
    sub_names: SubNames = SubNames.NONE
    min_interval: float = 300.0
    refresh: float | None = None
    removes: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The owner's name and keys at a provider."""

    name: str
    username: str = ""
    secret: str = field(default="", repr=False)
    endpoint: str = ""
