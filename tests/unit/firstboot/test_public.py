"""A public server, from the network check to the settings: what the agent asks, keeps and tells."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.answers import CheckState, Draft, Judgement
from appliance.errors import ConflictError, FieldError, StateError
from appliance.protocol import (
    Apply,
    GetDraft,
    GetProviders,
    PassNetwork,
    SaveAddress,
    SaveServer,
    StartAddressCheck,
    StartNetworkCheck,
    encode_request,
)
from appliance.settings import Ddns, Public, Reach, load_secrets, load_settings
from firstboot.address_check import RESULT, AddressCheck
from firstboot.watch import JOB_SECONDS
from services.address import Reachability
from services.results import save_result
from unit.firstboot.machine import Machine

TOKEN = "token-that-nobody-may-read"
NAME = "myhome.duckdns.org"


def publish(machine: Machine, name: str = NAME) -> str:
    """A session in which everything but page "address" is answered."""
    session = machine.claim()
    revision = machine.answer_everything(session)
    machine.ask(SaveServer(session=session, revision=revision, name=name, reach=Reach.PUBLIC))
    return session


def draft(machine: Machine, session: str) -> Draft:
    found: Draft = machine.ask(GetDraft(session=session))
    return found


def save_address(machine: Machine, session: str, **changes: Any) -> Draft:
    answers = {"provider": "duckdns", "name": NAME, "secret": TOKEN, **changes}
    revision = answers.pop("revision", draft(machine, session).revision)
    found: Draft = machine.ask(SaveAddress(session=session, revision=revision, **answers))
    return found


# ---- the network check --------------------------------------------------------------------------


def test_a_check_is_started_once_and_its_verdict_told(machine: Machine) -> None:
    session = machine.claim()
    assert draft(machine, session).network.state is CheckState.NONE
    for _ in range(2):
        machine.ask(StartNetworkCheck(session=session))
    assert machine.host.acts == ["network check"]
    assert draft(machine, session).network.state is CheckState.RUNNING
    machine.measured("100.64.1.2", seen="203.0.113.7")
    told = draft(machine, session).network
    assert (told.state, told.judgement) == (CheckState.DONE, Judgement.BAD)
    assert told.kind == Reachability.CGNAT
    assert "CGNAT" in told.headline
    assert any("100.64.1.2" in line for line in told.evidence)


def test_a_second_check_waits_for_its_own_result(machine: Machine) -> None:
    session = machine.claim()
    machine.measured("100.64.1.2", seen="203.0.113.7")
    machine.ask(StartNetworkCheck(session=session))
    assert draft(machine, session).network.state is CheckState.RUNNING
    machine.measured("203.0.113.7")
    assert draft(machine, session).network.judgement is Judgement.GOOD


def test_a_check_that_dies_is_given_up_and_can_be_started_again(machine: Machine) -> None:
    session = machine.claim()
    machine.ask(StartNetworkCheck(session=session))
    machine.clock.now += JOB_SECONDS + 1
    assert draft(machine, session).network.state is CheckState.LOST
    machine.ask(StartNetworkCheck(session=session))
    assert machine.host.acts == ["network check"] * 2


def test_a_verdict_outlives_the_agent(machine: Machine) -> None:
    session = machine.claim()
    machine.measured("203.0.113.7")
    machine.boot()
    assert draft(machine, session).network.kind == "open"


def test_having_seen_the_page_is_no_answer_that_others_could_miss(machine: Machine) -> None:
    session = machine.claim()
    before = draft(machine, session)
    after: Draft = machine.ask(PassNetwork(session=session))
    assert after.network_seen
    assert after.revision == before.revision
    machine.boot()
    assert draft(machine, session).network_seen


# ---- server name and address --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("duckdns.org", "everybody's names"),
        ("co.uk", "everybody's names"),
        ("hearth.local", "exist only on the home network"),
    ],
)
def test_a_public_name_must_be_ones_own(machine: Machine, name: str, message: str) -> None:
    session = machine.claim()
    with pytest.raises(FieldError, match=message) as caught:
        machine.ask(SaveServer(session=session, revision=0, name=name, reach=Reach.PUBLIC))
    assert caught.value.field == "server_name"


def test_from_the_answers_to_settings_and_secret(machine: Machine) -> None:
    session = publish(machine)
    told = save_address(machine, session)
    assert told.has_ddns_secret
    assert told.names == (NAME, f"matrix.{NAME}", f"chat.{NAME}")
    assert told.client_url == f"https://matrix.{NAME}"
    machine.ask(Apply(session=session, revision=told.revision))
    settings = load_settings(machine.paths.settings)
    assert settings is not None
    assert settings.public == Public(ddns=Ddns(provider="duckdns", name=NAME), sub_names=True)
    assert load_secrets(machine.paths.secrets).ddns_secret == TOKEN


def test_no_answer_ever_holds_the_token(machine: Machine) -> None:
    session = publish(machine)
    save_address(machine, session)
    assert TOKEN.encode() not in machine.agent.answer(encode_request(GetDraft(session=session)))
    assert TOKEN not in machine.paths.draft.read_text()
    assert machine.paths.secrets.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"name": "myhome.example.org"}, "name"),
        ({"provider": "desec", "name": "dedyn.io"}, "name"),
        ({"secret": ""}, "secret"),
        ({"provider": "noip", "name": "a.ddns.net"}, "username"),
        ({"provider": "custom", "username": "a", "endpoint": "http://x.example"}, "endpoint"),
    ],
)
def test_wrong_answers_name_their_field(
    machine: Machine, changes: dict[str, str], field: str
) -> None:
    session = publish(machine)
    with pytest.raises(FieldError) as caught:
        save_address(machine, session, **changes)
    assert caught.value.field == field
    assert load_secrets(machine.paths.secrets).ddns_secret == ""


def test_a_token_is_kept_for_its_provider_and_for_no_other(machine: Machine) -> None:
    session = publish(machine)
    save_address(machine, session)
    save_address(machine, session, name="other.duckdns.org", secret="")
    assert load_secrets(machine.paths.secrets).ddns_secret == TOKEN
    with pytest.raises(FieldError) as caught:
        save_address(machine, session, provider="dynv6", name="a.dynv6.net", secret="")
    assert caught.value.field == "secret"


def test_names_beneath_another_name_are_of_no_use(machine: Machine) -> None:
    session = publish(machine, "home.example.org")
    told = save_address(machine, session)
    assert told.names == ("home.example.org",)
    assert "CNAME" in told.address_note


def test_a_shared_domain_is_warned_about(machine: Machine) -> None:
    session = publish(machine, "berg.mooo.com")
    told = save_address(machine, session, provider="freedns", name="berg.mooo.com", username="anna")
    assert "Let's Encrypt" in told.address_note


def test_another_server_name_asks_for_its_address_anew(machine: Machine) -> None:
    session = publish(machine)
    revision = save_address(machine, session).revision
    told: Draft = machine.ask(
        SaveServer(session=session, revision=revision, name="b.duckdns.org", reach=Reach.PUBLIC)
    )
    assert (told.provider, told.names) == ("duckdns", ())
    with pytest.raises(FieldError) as caught:
        machine.ask(Apply(session=session, revision=told.revision))
    assert caught.value.field == "provider"


def test_a_token_that_is_not_used_after_all_is_forgotten(machine: Machine) -> None:
    session = publish(machine)
    revision = save_address(machine, session).revision
    told = machine.ask(SaveServer(session=session, revision=revision, name=NAME, reach=Reach.LAN))
    machine.ask(Apply(session=session, revision=told.revision))
    settings = load_settings(machine.paths.settings)
    assert settings is not None
    assert settings.public is None
    assert load_secrets(machine.paths.secrets).ddns_secret == ""


def test_ones_own_dns_needs_no_provider(machine: Machine) -> None:
    session = publish(machine, "home.example.org")
    told = save_address(machine, session, provider="none", name="", secret="")
    machine.ask(Apply(session=session, revision=told.revision))
    settings = load_settings(machine.paths.settings)
    assert settings is not None
    assert settings.public == Public()


def test_a_server_at_home_has_no_address(machine: Machine) -> None:
    session = machine.claim()
    machine.answer_everything(session)
    with pytest.raises(StateError, match="Only a server that the world can reach"):
        save_address(machine, session)


def test_the_second_browser_is_told_that_the_provider_is_another_one(machine: Machine) -> None:
    session = publish(machine)
    before = draft(machine, session).revision
    save_address(machine, session)
    with pytest.raises(ConflictError) as caught:
        save_address(machine, session, revision=before, name="b.duckdns.org")
    assert "what makes the name lead here and the token" in caught.value.message


# ---- the check of the account -------------------------------------------------------------------


def test_there_is_nothing_to_check_before_an_answer(machine: Machine) -> None:
    session = publish(machine)
    with pytest.raises(StateError, match="no answer to check"):
        machine.ask(StartAddressCheck(session=session))


def test_a_result_is_shown_for_the_answers_that_it_is_about(machine: Machine) -> None:
    session = publish(machine)
    save_address(machine, session)
    machine.ask(StartAddressCheck(session=session))
    assert machine.host.acts == ["address check"]
    number = machine.agent.setup.drafts.load().address_number
    found = AddressCheck(answers=number, judgement=Judgement.BAD, kind="badauth", headline="No.")
    save_result(machine.paths, RESULT, found)
    told = draft(machine, session).address
    assert (told.state, told.judgement, told.headline) == (CheckState.DONE, Judgement.BAD, "No.")
    save_address(machine, session, secret="another-token")
    assert draft(machine, session).address.state is CheckState.NONE


def test_every_provider_says_what_it_needs(machine: Machine) -> None:
    forms = {form.id: form for form in machine.ask(GetProviders()).forms}
    assert forms["duckdns"].username is None
    assert forms["noip"].username is not None
    assert forms["rfc2136"].endpoint is not None
    assert all(form.secret.label and form.name.help for form in forms.values())
