"""ACME's dns-01 through the provider that follows our address anyway (RFC 8555, section 8.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from appliance.deadline import Clock, wait_until
from appliance.errors import NetworkError
from appliance.log import logger
from services.ddns.outcome import Outcome
from services.ddns.provider import Provider, Txt
from services.ddns.verify import Authorities, ask_txt, find_authorities

LABEL = "_acme-challenge"
# DuckDNS needs up to a minute, deSEC a few seconds.
SEEN_SECONDS = 300.0
ASK_SECONDS = 5.0
# Let's Encrypt's resolvers keep an answer for its TTL, but for a minute at the most
# (community.letsencrypt.org/t/126670). Seen a moment later, the last proof would count as a wrong
# one; and the rehearsal's is the last one of the certificate's.
FORGOTTEN_SECONDS = 65.0


class TxtClient(Protocol):
    """An account, or one that asks only when the provider's contract allows."""

    @property
    def provider(self) -> Provider: ...
    def set_txt(self, name: str, value: str) -> Outcome: ...
    def clear_txt(self, name: str, value: str) -> Outcome: ...


@dataclass(frozen=True, kw_only=True)
class DnsAnswerer:
    """Fits services.acme.challenge.Answerer. ``authorities`` only where tests know them."""

    client: TxtClient
    clock: Clock
    authorities: Authorities | None = None
    kind: str = field(default="dns-01", init=False)
    # When the last value of a record was taken away, by the clock.
    _gone: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    @property
    def one_at_a_time(self) -> bool:
        return self.client.provider.txt is Txt.ONE

    def present(self, name: str, token: str, validation: str) -> None:
        """Return once every authoritative server that answers has the value."""
        record = f"{LABEL}.{name.removeprefix('*.')}"
        self._wait_until_forgotten(record)
        self._require(self.client.set_txt(record, validation), record)
        authorities = self.authorities or find_authorities(name.removeprefix("*."))

        def is_seen() -> bool:
            answers = [one for one in ask_txt(record, authorities) if not one.error]
            return bool(answers) and all(validation in one.records for one in answers)

        wait_until(
            is_seen,
            seconds=SEEN_SECONDS,
            every=ASK_SECONDS,
            what=f"the new TXT record of {record} at the name servers of {authorities.zone}",
            clock=self.clock,
        )

    def remove(self, name: str, token: str, validation: str) -> None:
        """Never raises for a refusal: the authority has judged by now, and a value left behind
        proves nothing anew.
        """
        record = f"{LABEL}.{name.removeprefix('*.')}"
        self._gone[record] = self.clock.monotonic()
        outcome = self.client.clear_txt(record, validation)
        if not outcome.is_done:
            logger.warning("a TXT record of %s stays behind: %s", record, outcome.problem)

    def _wait_until_forgotten(self, record: str) -> None:
        if record not in self._gone:
            return
        left = self._gone.pop(record) + FORGOTTEN_SECONDS - self.clock.monotonic()
        if left > 0:
            logger.info("the last proof may still be remembered out there; %.0f s more", left)
            self.clock.sleep(left)

    def _require(self, outcome: Outcome, record: str) -> None:
        if not outcome.is_done:
            message = f"{self.client.provider.title}, asked for {record}: {outcome.problem}"
            raise NetworkError(message, hint=outcome.hint)
