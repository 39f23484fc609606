"""The check of page "address", between the owner's draft, a provider and a name server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dns.resolver
import pytest

from appliance.answers import CheckState, Draft, Judgement
from appliance.errors import StateError
from appliance.protocol import GetDraft, SaveAddress, SaveServer
from appliance.settings import Ddns, Reach, Secrets
from firstboot.address_check import RESULT, AddressCheck, Outdoors, check_address
from firstboot.cli import make_parser
from firstboot.draft import DraftBook
from services.ddns import verify
from services.ddns.client import Client
from services.ddns.result import make_client
from services.ddns.verify import Authorities, find_authorities
from services.results import save_result
from unit.firstboot.machine import Machine
from unit.services.ddns.bench import at_endpoint
from unit.services.ddns.nameserver import Zone, serve_zone
from world.internet.ddns_endpoints import NAMES, SECRET, USER, serve
from world.internet.ddns_ledger import Entry, Ledger

HOME = "home.example.org"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.9"


@dataclass
class Owner:
    """Somebody in front of the wizard, with a name server in the world."""

    machine: Machine
    session: str
    zone: Zone
    port: int

    def answers(self, server_name: str, **address: str) -> None:
        revision = self.machine.answer_everything(self.session)
        name = {"name": server_name, "reach": Reach.PUBLIC, "revision": revision}
        draft = self.machine.ask(SaveServer(session=self.session, **name))
        request = SaveAddress(session=self.session, revision=draft.revision, **address)
        self.machine.ask(request)

    def check(self, url: str = "") -> AddressCheck:
        def client(ddns: Ddns, secrets: Secrets) -> Client:
            return at_endpoint(make_client(ddns, secrets), url)

        return check_address(
            self.machine.paths, Outdoors(client=client, authorities=self.authorities)
        )

    def authorities(self, name: str) -> Authorities:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.port
        return find_authorities(name, resolver=resolver, port=self.port)


@pytest.fixture
def owner(machine: Machine) -> Iterator[Owner]:
    zone = Zone()
    with serve_zone(zone) as port:
        yield Owner(machine, machine.claim(), zone, port)


@pytest.mark.parametrize(
    ("secret", "judgement"), [(SECRET, Judgement.GOOD), ("mistyped-token", Judgement.BAD)]
)
def test_a_provider_that_can_be_asked_is_asked_without_changing_anything(
    owner: Owner, secret: str, judgement: Judgement, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    name = NAMES["desec"]
    ledger = Ledger(user=USER, secret=SECRET, names={name: Entry()})
    with serve("desec", ledger) as server:
        owner.answers(name, provider="desec", name=name, secret=secret)
        found = owner.check(server.url)
    assert found.judgement is judgement, found
    assert ledger.names[name] == Entry()
    file = owner.machine.paths.results / f"{RESULT}.json"
    assert json.loads(file.read_text())["judgement"] == judgement
    assert secret not in file.read_text()
    assert secret not in caplog.text


def test_the_page_shows_what_the_check_left(owner: Owner) -> None:
    name = NAMES["desec"]
    with serve("desec", Ledger(user=USER, secret=SECRET, names={name: Entry()})) as server:
        owner.answers(name, provider="desec", name=name, secret="wrong")
        owner.check(server.url)
    draft: Draft = owner.machine.ask(GetDraft(session=owner.session))
    assert (draft.address.state, draft.address.kind) == (CheckState.DONE, "badauth")
    assert "deSEC" in draft.address.headline
    assert "copy it from the provider's page" in draft.address.next_step


def test_a_provider_that_takes_only_updates_is_looked_up(owner: Owner) -> None:
    owner.answers(HOME, provider="ovh", name=HOME, username="anna", secret="secret")
    found = owner.check("http://127.0.0.1:9")
    assert (found.judgement, found.kind) == (Judgement.UNSURE, "empty")
    assert f"{HOME} leads nowhere yet" in found.headline
    owner.zone.publish(HOME, "A", ("192.0.2.1",))
    found = owner.check("http://127.0.0.1:9")
    assert (found.judgement, found.kind) == (Judgement.GOOD, "exists")
    assert any("192.0.2.1" in line for line in found.evidence)


@pytest.mark.parametrize(
    ("published", "measured", "judgement", "kind"),
    [
        ((), "192.0.2.1", Judgement.BAD, "empty"),
        (("192.0.2.1",), "", Judgement.UNSURE, "unknown"),
        (("192.0.2.9",), "192.0.2.1", Judgement.BAD, "elsewhere"),
        (("192.0.2.1",), "192.0.2.1", Judgement.GOOD, "good"),
    ],
)
def test_ones_own_dns_is_compared_with_the_connection(
    owner: Owner, published: tuple[str, ...], measured: str, judgement: Judgement, kind: str
) -> None:
    owner.answers(HOME, provider="none")
    if published:
        owner.zone.publish(HOME, "A", published)
    if measured:
        owner.machine.measured(measured)
    found = owner.check()
    assert (found.judgement, found.kind) == (judgement, kind), found


@pytest.mark.parametrize(
    ("matrix", "chat", "is_used"),
    [(HERE, HERE, True), (HERE, ELSEWHERE, False), (HERE, None, False), (None, None, False)],
)
def test_names_beneath_ones_own_are_used_where_both_lead_here(
    owner: Owner, matrix: str | None, chat: str | None, *, is_used: bool
) -> None:
    """Shown before setup, and part of the settings; another answer needs another look."""
    owner.answers(HOME, provider="none")
    owner.machine.measured(HERE)
    owner.zone.publish(HOME, "A", (HERE,))
    for label, address in (("matrix", matrix), ("chat", chat)):
        if address:
            owner.zone.publish(f"{label}.{HOME}", "A", (address,))
    found = owner.check()
    assert found.kind == "good"
    assert found.sub_names is is_used
    assert f"matrix.{HOME} and chat.{HOME}" in found.evidence[-1]
    book = DraftBook(owner.machine.paths)
    public = book.settings().public
    assert public is not None
    assert public.sub_names is is_used
    names = (HOME, f"matrix.{HOME}", f"chat.{HOME}") if is_used else (HOME,)
    assert book.show().names == names
    save_result(owner.machine.paths, RESULT, replace(found, answers=found.answers - 1))
    assert book.show().names == (HOME,)


def test_no_dns_at_all_is_a_finding_too(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "FIND_SECONDS", 0.3)
    owner.answers(HOME, provider="none")
    owner.port = 9  # discard: nobody answers there
    found = owner.check()
    assert (found.judgement, found.kind) == (Judgement.BAD, "failed")
    assert found.next_step


def test_without_answers_there_is_nothing_to_check(owner: Owner, tmp_path: Path) -> None:
    with pytest.raises(StateError):
        owner.check()
    options = make_parser().parse_args(["--root", str(owner.machine.paths.root), "ddns-check"])
    with pytest.raises(StateError):
        options.verb(owner.machine.paths, options)


def test_a_result_that_is_damaged_is_said_to_be_lost(owner: Owner) -> None:
    owner.answers(HOME, provider="none")
    found = AddressCheck(answers=0, judgement=Judgement.GOOD, kind="good", headline="")
    save_result(owner.machine.paths, RESULT, found)
    (owner.machine.paths.results / f"{RESULT}.json").write_text("{")
    draft: Draft = owner.machine.ask(GetDraft(session=owner.session))
    assert draft.address.state is CheckState.NONE
