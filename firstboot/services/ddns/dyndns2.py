"""dyndns2: one GET, one status word a line (help.dyn.com/remote-access-api, noip.com/integrate)."""

from __future__ import annotations

from dataclasses import dataclass

from services.ddns.outcome import Kind, Outcome, RefusalError
from services.ddns.provider import Account, Ipv6, Provider
from services.ddns.web import Reply, Web, basic
from services.wan import WanAddresses

WORDS = {
    kind.value: kind
    for kind in (
        Kind.GOOD, Kind.UNCHANGED, Kind.BADAUTH, Kind.NOHOST, Kind.NOTFQDN, Kind.NUMHOST,
        Kind.ABUSE, Kind.BADAGENT, Kind.DONATOR, Kind.NOTYOURS, Kind.INACTIVE, Kind.BADSYS,
        Kind.OUTAGE, Kind.DNSERR,
    )
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Dyndns2:
    account: Account
    provider: Provider

    def update(self, addresses: WanAddresses) -> Outcome:
        params = {"hostname": self.account.name, **self._addresses(addresses)}
        if self.provider.id in ("ovh", "dyn"):
            params["system"] = "dyndns"
        url = self.account.endpoint or self.provider.endpoint
        # Where there are no users, as at Hurricane Electric, the name is its own.
        user = self.account.username or self.account.name
        authorization = basic(user, self.account.secret)
        web = Web(self.account, secrets=(authorization.split()[1],))
        return parse_words(web.ask("GET", url, params=params, authorization=authorization))

    def check_account(self) -> Outcome:
        return Outcome(kind=Kind.UNTOLD)

    def _addresses(self, addresses: WanAddresses) -> dict[str, str]:
        if self.provider.ipv6 is Ipv6.COMMA:
            return {"myip": ",".join(addresses.known)}
        if self.provider.ipv6 is Ipv6.MYIPV6 and addresses.ipv6:
            # An empty myip would be filled with the address that the request comes from.
            return {"myip": addresses.ipv4 or "no", "myipv6": addresses.ipv6}
        return {"myip": addresses.ipv4 or ""}


def parse_words(reply: Reply) -> Outcome:
    """The verdict of a dyndns2 answer. Raises RefusalError when it is no such answer."""
    lines = [line.split() for line in reply.words.lower().splitlines() if line.strip()]
    kinds = [WORDS.get(words[0], Kind.GARBLED) for words in lines]
    if not kinds or Kind.GARBLED in kinds:
        raise reply.unexpected()
    for words, kind in zip(lines, kinds, strict=True):
        # help.dyn.com: "good 127.0.0.1" means that the request was ignored for a bad agent.
        if kind is Kind.GOOD and words[1:2] == ["127.0.0.1"]:
            raise RefusalError(Kind.BADAGENT, reply.said)
    outcomes = [
        Outcome(kind=kind, said=reply.said, retry_after=reply.retry_after) for kind in kinds
    ]
    for wanted in (lambda one: one.is_stop, lambda one: not one.is_done):
        for outcome in outcomes:
            if wanted(outcome):
                return outcome
    good = [one for one in outcomes if one.kind is Kind.GOOD]
    return (good or outcomes)[0]
