"""Before anything is set up: does the provider accept the owner's token, and does the name exist?

Run by hearth-ddns-check.service, which the agent starts; the agent itself speaks to no network.
Nothing is changed at the provider.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from appliance.answers import OWN_DNS, Judgement
from appliance.errors import HearthError, NetworkError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.secretfile import hold_secrets
from appliance.settings import Ddns, Secrets, load_secrets
from firstboot.draft import DraftBook
from firstboot.stored import StoredDraft, public_settings
from services.ddns.client import Client
from services.ddns.outcome import Kind
from services.ddns.result import make_client
from services.ddns.verify import Authorities, ServerAnswer, ask_addresses, find_authorities
from services.results import load_result, save_result
from services.wan import WanAddresses, load_wan

RESULT = "address-check"


@dataclass(frozen=True, kw_only=True)
class AddressCheck:
    """``answers`` tells which answers of the draft were tried (StoredDraft.address_number).

    ``sub_names``: in a DNS of the owner's own, matrix.NAME and chat.NAME lead here too.
    """

    answers: int
    judgement: Judgement
    kind: str
    headline: str
    evidence: tuple[str, ...] = ()
    next_step: str = ""
    sub_names: bool = False


@dataclass(frozen=True, kw_only=True)
class Outdoors:
    """What is asked; tests have their own."""

    client: Callable[[Ddns, Secrets], Client] = make_client
    authorities: Callable[[str], Authorities] = find_authorities


def check_address(paths: Paths, outdoors: Outdoors | None = None) -> AddressCheck:
    """Try the draft's answers and leave the result. Raises StateError when there are none."""
    with hold_secrets(paths):
        draft, secrets = DraftBook(paths).load(), load_secrets(paths.secrets)
    if not draft.provider:
        raise StateError("There is no answer to check yet.", hint="answer page 'address' first")
    inspection = Inspection(draft, outdoors or Outdoors())
    try:
        if draft.provider == OWN_DNS:
            found = inspection.judge_name(load_wan(paths))
        else:
            found = inspection.try_account(secrets)
    except HearthError as error:
        found = inspection.say(
            Judgement.BAD, "failed", error.message, next_step=error.hint or "check again later"
        )
    logger.info("%s: %s", draft.provider, found.kind)
    save_result(paths, RESULT, found)
    return found


def has_own_sub_names(paths: Paths, draft: StoredDraft) -> bool:
    """Whether the check of just these answers has found matrix.NAME and chat.NAME leading here."""
    found = load_result(paths, RESULT, AddressCheck) if draft.provider == OWN_DNS else None
    return found is not None and found.answers == draft.address_number and found.sub_names


class Inspection:
    def __init__(self, draft: StoredDraft, outdoors: Outdoors) -> None:
        self._draft = draft
        self._outdoors = outdoors

    def try_account(self, secrets: Secrets) -> AddressCheck:
        """Token and name at the provider, as far as it can be asked without an update."""
        public = public_settings(self._draft)
        assert public is not None
        assert public.ddns is not None
        name = public.ddns.name
        client = self._outdoors.client(public.ddns, secrets)
        title = client.provider.title
        outcome = client.check_account()
        evidence = [f"{title} says: {outcome.said}"] if outcome.said else []
        if outcome.is_done:
            headline = f"{title} knows {name} and accepts what you typed."
            return self.say(Judgement.GOOD, "good", headline, evidence)
        if outcome.kind is Kind.UNTOLD:
            return self._look_up(name, title)
        headline = _sentence(f"{title}: {outcome.problem.partition(' (')[0]}")
        return self.say(Judgement.BAD, outcome.kind.value, headline, evidence, outcome.hint)

    def _look_up(self, name: str, title: str) -> AddressCheck:
        """The provider cannot be asked without an update; what it publishes can be seen."""
        try:
            answers = self._ask(name)
        except NetworkError as error:
            answers = (ServerAnswer(server="name servers", error=error.message),)
        evidence = [_line(name, answer) for answer in answers]
        headline = f"{title} takes no questions, only updates: the first one proves your token."
        step = "go on; when setup is nearly over you will see what the provider said"
        if any(answer.records for answer in answers):
            return self.say(Judgement.GOOD, "exists", f"{name} exists. {headline}", evidence)
        if all(answer.error for answer in answers):
            return self.say(Judgement.UNSURE, Kind.UNTOLD.value, headline, evidence, step)
        headline = f"{name} leads nowhere yet. {headline}"
        step = f"if you have not made this name at {title} yet, do it now; then go on"
        return self.say(Judgement.UNSURE, "empty", headline, evidence, step)

    def judge_name(self, ours: WanAddresses) -> AddressCheck:
        """A name in the owner's own DNS: does it lead to this connection?"""
        name = self._draft.server_name
        answers = self._ask(name)
        evidence = [_line(name, answer) for answer in answers]
        found = {record for answer in answers for record in answer.records}
        if not found:
            headline = f"{name} leads nowhere yet."
            known = " and ".join(ours.known) or "this connection's public address"
            step = f"at its DNS provider, make an A record (AAAA for IPv6) that leads to {known}"
            return self.say(Judgement.BAD, "empty", headline, evidence, step)
        if not ours.known:
            headline = f"{name} exists; what this connection's own address is was not found out."
            step = "check your network again, on the page before"
            return self.say(Judgement.UNSURE, "unknown", headline, evidence, step)
        evidence.append(f"this connection is {' and '.join(ours.known)}")
        if not found <= set(ours.known):
            headline = f"{name} leads somewhere else."
            step = f"at its DNS provider, let it lead to {' and '.join(ours.known)} alone"
            return self.say(Judgement.BAD, "elsewhere", headline, evidence, step)
        headline = f"{name} leads to this connection."
        beneath = (f"matrix.{name}", f"chat.{name}")
        has_sub_names = all(self._leads_here(one, ours) for one in beneath)
        both = " and ".join(beneath)
        evidence.append(
            f"{both} lead here too: the homeserver and a later web client get names of their own"
            if has_sub_names
            else f"{both} do not both lead here: everything is under {name} itself"
        )
        good = self.say(Judgement.GOOD, "good", headline, evidence)
        return replace(good, sub_names=has_sub_names)

    def _leads_here(self, name: str, ours: WanAddresses) -> bool:
        found = {record for answer in self._ask(name) for record in answer.records}
        return bool(found) and found <= set(ours.known)

    def say(
        self,
        judgement: Judgement,
        kind: str,
        headline: str,
        evidence: Sequence[str] = (),
        next_step: str = "",
    ) -> AddressCheck:
        return AddressCheck(
            answers=self._draft.address_number,
            judgement=judgement,
            kind=kind,
            headline=headline,
            evidence=tuple(evidence),
            next_step=next_step,
        )

    def _ask(self, name: str) -> tuple[ServerAnswer, ...]:
        return ask_addresses(name, self._outdoors.authorities(name))


def _line(name: str, answer: ServerAnswer) -> str:
    told = answer.error or f"{name} is {' and '.join(answer.records) or 'unknown'}"
    return f"{answer.server}: {told}"


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
