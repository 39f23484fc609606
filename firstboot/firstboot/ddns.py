"""The name follows the address. Run by hearth-ddns.timer, and by whoever sees a new address.

Its result is also its memory: what the provider has acknowledged, when it may be asked again, and
a refusal that waits for the owner.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.deadline import WallClock, wait_until
from appliance.errors import DeadlineError, NetworkError
from appliance.log import logger
from appliance.paths import Paths
from appliance.secretfile import load_both
from appliance.settings import Ddns, Secrets, Settings, Way
from services.ddns import contract
from services.ddns.client import Client
from services.ddns.contract import Adopt, Rest, Stop, Update, Wait, Wanted
from services.ddns.outcome import EXPLAINED, Outcome
from services.ddns.provider import SubNames
from services.ddns.result import (
    RESULT,
    DdnsResult,
    account_mark,
    by_this_clock,
    hold_lock,
    make_client,
)
from services.ddns.verify import Authorities, agreed, ask_addresses, find_authorities
from services.moment import read_boot_id, read_moment
from services.names import public_names
from services.portmap.place import Place, find_place
from services.results import load_result, save_result
from services.wan import WanAddresses
from services.ways import published, resolve

# Name servers are asked again and again after an update, but not for longer than a unit may take.
SEEN_SECONDS = 60.0
SEEN_EVERY = 2.0
# While all is well, the authorities are asked this often whether it still is.
VERIFY_SECONDS = 3600.0
ALIAS_SECONDS = 3600.0
REMEMBERED_SECONDS = 1800.0


@dataclass(frozen=True, kw_only=True)
class World:
    """What is outside; tests have their own."""

    clock: WallClock = time
    boot_id: Callable[[], str] = read_boot_id
    client: Callable[[Ddns, Secrets], Client] = make_client
    authorities: Callable[[str], Authorities] = find_authorities
    # What our own network's name server says; raises NetworkError where it knows no address.
    at_home: Callable[[str], WanAddresses] = resolve
    place: Callable[[], Place] = find_place


def follow_address(
    paths: Paths, world: World | None = None, *, again: bool = False
) -> DdnsResult | None:
    """Do what the contract allows now; None where no name is to be followed.

    ``again``: the owner says that what the provider refused is mended.
    """
    world = world or World()
    with hold_lock(paths):
        # Here and not before: who waits may find another account than the one it came for.
        settings, secrets = load_both(paths)
        if settings is None or settings.public is None or settings.public.ddns is None:
            return None
        job = Job(paths, settings, settings.public.ddns, secrets, world)
        result = job.run(again=again)
        if job.is_overtaken():
            # Whoever sees the new address cannot start what runs already.
            result = Job(paths, settings, settings.public.ddns, secrets, world).run(again=False)
        return result


class Job:
    def __init__(
        self, paths: Paths, settings: Settings, ddns: Ddns, secrets: Secrets, world: World
    ) -> None:
        self._paths = paths
        self._settings = settings
        self._world = world
        self._client = world.client(ddns, secrets)
        self._mark = account_mark(ddns, secrets)
        self._kept = load_result(paths, RESULT, DdnsResult)
        moment = read_moment(world.clock, world.boot_id)
        before = by_this_clock(self._kept or DdnsResult(), moment)
        if before.contract.account != self._mark:
            before = DdnsResult(contract=before.contract)
        self._result = replace(
            before,
            at=moment.date,
            noted=moment,
            provider=ddns.provider,
            name=ddns.name,
            wanted=WanAddresses(),
            problem="",
            hint="",
            next_at=0.0,
        )
        self._find_wanted()

    def _find_wanted(self) -> None:
        assert self._settings.public is not None
        try:
            wanted = published(self._paths, self._settings.public, self._world.place())
        except NetworkError as error:
            self._complain(error.message, error.hint or "")
        else:
            self._result = replace(self._result, wanted=wanted)

    def is_overtaken(self) -> bool:
        """Whether the address has become another one while the name servers were waited for."""
        told = self._result.wanted
        self._find_wanted()
        return self._result.wanted != told

    def run(self, *, again: bool) -> DdnsResult:
        if again:
            provider = self._client.provider
            state = contract.released(self._result.contract, self._result.at, provider)
            self._result = replace(self._result, contract=state)
        published = self._look() if self._want_look() else None
        wanted = Wanted(account=self._mark, addresses=self._result.wanted, published=published)
        now = self._result.at
        state = contract.observe(self._result.contract, now, wanted)
        self._result = replace(self._result, contract=state)
        self._follow(contract.plan(state, now, wanted, self._client.provider))
        self._make_aliases()
        self._look_at_home()
        self._save()
        return self._result

    def _follow(self, decision: contract.Decision) -> None:
        match decision:
            case Stop():
                problem = Outcome(kind=decision.kind, said=decision.said).problem
                self._complain(problem, EXPLAINED[decision.kind][1])
            case Wait():
                last = Outcome(kind=self._result.kind) if self._result.kind else None
                if last is not None and not last.is_done:
                    self._complain(replace(last, said=self._result.said).problem, last.hint)
                self._result = replace(self._result, next_at=decision.until)
            case Rest():
                self._rest(decision)
            case Adopt():
                logger.info("the name servers already have this address")
                state = contract.adopt(self._result.contract, self._result.at, decision)
                self._result = replace(self._result, contract=state)
            case Update():
                self._update(decision)

    def _rest(self, decision: Rest) -> None:
        if decision.is_drifted:
            seen = {record for one in self._result.servers for record in one.records}
            self._complain(
                "the provider has taken our address, but the name servers answer "
                + (", ".join(sorted(seen)) or "nothing"),
                "look for another device, such as the router, that updates this name; "
                "then: hearthctl ddns --again",
            )
        elif not self._result.wanted.known and not self._result.problem:
            self._complain(
                "no address is known that the world could reach",
                "look at: hearthctl doctor address",
            )

    def _update(self, decision: Update) -> None:
        state = contract.begin(self._result.contract, self._result.at)
        self._result = replace(self._result, contract=state)
        self._save()
        addresses = " and ".join(decision.addresses.known)
        provider, name = self._client.provider, self._result.name
        logger.info("telling %s that %s is at %s", provider.title, name, addresses)
        outcome = self._client.update(decision.addresses)
        now = self._world.clock.time()
        state = contract.conclude(state, now, decision, outcome, provider)
        self._result = replace(
            self._result,
            contract=state,
            kind=outcome.kind,
            said=outcome.said,
            answered_at=now,
            next_at=state.not_before,
        )
        self._save()
        if outcome.is_done:
            self._wait_until_seen(decision.addresses)
        else:
            self._complain(outcome.problem, outcome.hint)

    def _wait_until_seen(self, addresses: WanAddresses) -> None:
        def is_seen() -> bool:
            seen = self._look()
            return seen is not None and set(addresses.known) <= set(seen.known)

        try:
            wait_until(
                is_seen,
                seconds=SEEN_SECONDS,
                every=SEEN_EVERY,
                what="the new address at all name servers",
                clock=self._world.clock,
            )
        except DeadlineError as error:
            logger.info("%s; this is looked at again", error.message)

    def _want_look(self) -> bool:
        result = self._result
        age = result.at - result.verified_at
        is_old = not 0 <= age < VERIFY_SECONDS
        return is_old or result.is_correct is not True or not result.contract.acknowledged.known

    def _look(self) -> WanAddresses | None:
        """Ask the authorities, note what they say; their common answer."""
        try:
            found = self._world.authorities(self._result.name)
        except NetworkError as error:
            logger.info("%s", error.message)
            self._result = replace(self._result, servers=(), is_correct=None)
            return None
        answers = ask_addresses(self._result.name, found)
        published = agreed(answers)
        target = self._result.wanted.known
        is_correct = published is not None and set(target) <= set(published.known)
        self._result = replace(
            self._result,
            servers=answers,
            is_correct=is_correct if any(not one.error for one in answers) else None,
            verified_at=self._world.clock.time(),
        )
        return published

    def _make_aliases(self) -> None:
        """matrix.NAME and chat.NAME, once, where the provider lets us; they follow the name."""
        names = public_names(self._settings)
        if names is None or self._client.provider.sub_names is not SubNames.MADE:
            return
        beneath = f".{self._result.name}"
        missing = [one for one in names.all if one.endswith(beneath)]
        missing = [one for one in missing if one not in self._result.aliases]
        state = self._result.contract
        is_soon = 0 <= self._result.at - self._result.aliases_at < ALIAS_SECONDS
        is_barred = state.stop is not None or self._result.at < state.not_before
        if not missing or is_soon or is_barred or self._result.problem:
            return
        self._result = replace(self._result, aliases_at=self._result.at)
        self._save()
        for alias in missing:
            outcome = self._client.set_alias(alias, self._result.name)
            if not outcome.is_done:
                now, provider = self._world.clock.time(), self._client.provider
                state = contract.refused_aside(state, now, outcome, provider)
                self._result = replace(self._result, contract=state)
                self._complain(f"{alias} could not be made: {outcome.problem}", outcome.hint)
                return
            self._result = replace(self._result, aliases=(*self._result.aliases, alias))

    def _look_at_home(self) -> None:
        """Many routers hide names that lead to addresses at home: it could be an attack.

        RFC 1918 addresses in answers from outside are what "DNS rebinding" uses.
        """
        assert self._settings.public is not None
        is_due = self._settings.public.way is Way.HOME and self._result.is_correct
        # Name servers on the way remember for a while that there was no such name.
        is_new = self._result.at - self._result.contract.acknowledged_at < REMEMBERED_SECONDS
        if not is_due or is_new or self._result.problem:
            return
        name = self._result.name
        try:
            found = self._world.at_home(name)
        except NetworkError as error:
            logger.info("%s", error.message)
            found = WanAddresses()
        if found.ipv4 != self._result.wanted.ipv4:
            self._complain(
                f"the name leads here, but your router's name server answers "
                f"{found.ipv4 or 'nothing'} for {name}",
                f"allow {name} in the router's settings under DNS rebind protection",
            )

    def _complain(self, problem: str, hint: str) -> None:
        logger.warning("%s", problem)
        self._result = replace(self._result, problem=problem, hint=hint)

    def _save(self) -> None:
        """Every write wears the card, and that this has run once more is not worth one."""
        kept = self._kept
        if kept is None or replace(self._result, at=kept.at, noted=kept.noted) != kept:
            save_result(self._paths, RESULT, self._result)
            self._kept = self._result
