"""What a provider's answer means: done, try again later, or stop until the owner acts.

The words are those of the dyndns2 protocol (help.dyn.com/remote-access-api/return-codes), used for
every provider; the last few are ours, for what has no word there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    GOOD = "good"
    UNCHANGED = "nochg"

    BADAUTH = "badauth"
    NOHOST = "nohost"
    NOTFQDN = "notfqdn"
    NUMHOST = "numhost"
    ABUSE = "abuse"
    BADAGENT = "badagent"
    DONATOR = "!donator"
    NOTYOURS = "!yours"
    INACTIVE = "!active"
    BADSYS = "badsys"
    REFUSED = "refused"

    OUTAGE = "911"
    DNSERR = "dnserr"
    LIMITED = "limited"
    UNREACHABLE = "unreachable"
    GARBLED = "garbled"
    UNTOLD = "untold"


DONE = frozenset({Kind.GOOD, Kind.UNCHANGED})
# A client that goes on after one of these is what providers block accounts for.
STOPS = frozenset({
    Kind.BADAUTH, Kind.NOHOST, Kind.NOTFQDN, Kind.NUMHOST, Kind.ABUSE, Kind.BADAGENT,
    Kind.DONATOR, Kind.NOTYOURS, Kind.INACTIVE, Kind.BADSYS, Kind.REFUSED,
})  # fmt: skip

# The cause in a sentence, and what the owner can do.
EXPLAINED: dict[Kind, tuple[str, str]] = {
    Kind.GOOD: ("the provider has taken the address", ""),
    Kind.UNCHANGED: ("the provider already had this address", ""),
    Kind.BADAUTH: (
        "the provider does not accept the user name, token or password",
        "copy it from the provider's page once more and save it here",
    ),
    Kind.NOHOST: (
        "the provider does not know this name in your account",
        "create the name at the provider, or correct it here",
    ),
    Kind.NOTFQDN: (
        "the provider says that this is not a complete name",
        "write the name in full, for example myhome.example.org",
    ),
    Kind.NUMHOST: (
        "the provider finds too many or too few names in one request",
        "check the name at the provider",
    ),
    Kind.ABUSE: (
        "the provider has blocked this name for too many updates",
        "ask the provider to unblock it; look for another device, such as the router, that also "
        "updates this name",
    ),
    Kind.BADAGENT: (
        "the provider does not accept this program as a client",
        "report this to Hearth, or choose another provider",
    ),
    Kind.DONATOR: (
        "the provider offers this only to paying customers",
        "choose another name or plan at the provider",
    ),
    Kind.NOTYOURS: (
        "this name exists at the provider, but this account may not change it",
        "check the name, and what the token is allowed to change",
    ),
    Kind.INACTIVE: (
        "the name or the account is not active at the provider",
        "activate it on the provider's page",
    ),
    Kind.BADSYS: (
        "the provider does not accept this kind of request",
        "check that the right provider is chosen",
    ),
    Kind.REFUSED: (
        "the provider refuses the update",
        "look at the provider's page for this name",
    ),
    Kind.OUTAGE: (
        "the provider reports trouble of its own",
        "nothing to do: it is tried again, at the earliest after half an hour",
    ),
    Kind.DNSERR: (
        "the provider reports trouble with its name servers",
        "nothing to do: it is tried again later",
    ),
    Kind.LIMITED: (
        "the provider asks to be left alone for a while",
        "nothing to do: it is tried again when the provider allows it",
    ),
    Kind.UNREACHABLE: (
        "the provider does not answer",
        "nothing to do if this connection was away; otherwise check the provider's status page",
    ),
    Kind.GARBLED: (
        "the provider's answer is not what its protocol promises",
        "nothing to do: it is tried again later; if it stays so, report this to Hearth",
    ),
    Kind.UNTOLD: (
        "this provider cannot be asked without an update",
        "the first update will tell",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """``said`` is the evidence, free of secrets; ``retry_after`` is what the provider asked for."""

    kind: Kind
    said: str = ""
    retry_after: float = 0.0

    @property
    def is_done(self) -> bool:
        return self.kind in DONE

    @property
    def is_stop(self) -> bool:
        return self.kind in STOPS

    @property
    def problem(self) -> str:
        cause = EXPLAINED[self.kind][0]
        return f"{cause} ({self.said})" if self.said else cause

    @property
    def hint(self) -> str:
        return EXPLAINED[self.kind][1]


class RefusalError(Exception):
    """Ends a conversation with a provider early; services.ddns.client makes an outcome of it."""

    def __init__(self, kind: Kind, said: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(kind.value)
        self.outcome = Outcome(kind=kind, said=said, retry_after=retry_after)
