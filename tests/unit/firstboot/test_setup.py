"""From the claim to a started provisioning, with all that may come between."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from appliance.aftercare import MakeRecoveryFile
from appliance.bootreport import DataCondition
from appliance.errors import (
    AccessError,
    CommandError,
    ConflictError,
    FieldError,
    HearthError,
    StateError,
)
from appliance.fate import EraseData
from appliance.protocol import (
    Apply,
    Claim,
    GetDraft,
    GetStatus,
    PassNetwork,
    SaveAddress,
    SaveHomeserver,
    SaveOwner,
    SaveServer,
    SignIn,
    SignOut,
    StartAddressCheck,
    StartNetworkCheck,
    encode_request,
)
from appliance.settings import Reach, Software, load_secrets, load_settings, save_toml
from appliance.state import Phase, State, load_state, save_state
from services.passwords import verify_secret
from unit.firstboot.machine import PASSWORD, Machine


def phase(machine: Machine) -> Phase:
    return load_state(machine.paths.state).phase


def save_owner(machine: Machine, session: str, revision: int, **changes: str) -> object:
    answers = {"name": "anna", "timezone": "Europe/Berlin", "password": PASSWORD, **changes}
    return machine.ask(SaveOwner(session=session, revision=revision, **answers))


def reach_ready(machine: Machine) -> str:
    session = machine.claim()
    machine.ask(Apply(session=session, revision=machine.answer_everything(session)))
    save_state(State(phase=Phase.READY), machine.paths.state)
    machine.agent.settle()
    return session


# ---- the way through ----------------------------------------------------------------------------


def test_from_the_claim_to_settings(machine: Machine) -> None:
    session = machine.claim()
    assert phase(machine) is Phase.SETUP
    revision = machine.answer_everything(session)
    draft = machine.ask(
        SaveHomeserver(session=session, revision=revision, software=Software.DENDRITE)
    )
    machine.ask(Apply(session=session, revision=draft.revision))
    settings = load_settings(machine.paths.settings)
    assert settings is not None
    assert settings.server.name == "home.example.org"
    assert settings.server.software is Software.DENDRITE
    assert settings.device.timezone == "Europe/Berlin"
    assert phase(machine) is Phase.APPLYING
    assert machine.host.acts == ["provision"]
    secrets = load_secrets(machine.paths.secrets)
    assert secrets.pending_password == PASSWORD
    assert verify_secret(PASSWORD, secrets.owner_password_hash)


def test_no_answer_ever_holds_the_password(machine: Machine) -> None:
    session = machine.claim()
    revision = machine.answer_everything(session)
    for request in (
        GetDraft(session=session),
        GetStatus(),
        Apply(session=session, revision=revision),
    ):
        assert PASSWORD.encode() not in machine.agent.answer(encode_request(request))
    assert PASSWORD not in machine.paths.draft.read_text()
    assert PASSWORD not in machine.paths.settings.read_text()
    assert machine.paths.secrets.stat().st_mode & 0o777 == 0o600
    assert machine.paths.draft.stat().st_mode & 0o777 == 0o600


def test_a_half_finished_setup_resumes_after_a_reboot(machine: Machine) -> None:
    session = machine.claim()
    save_owner(machine, session, 0)
    machine.boot()
    draft = machine.ask(GetDraft(session=session))
    assert (draft.owner_name, draft.has_password, draft.server_name) == ("anna", True, "")


def test_apply_twice_starts_one_setup(machine: Machine) -> None:
    session = machine.claim()
    revision = machine.answer_everything(session)
    for _ in range(2):
        machine.ask(Apply(session=session, revision=revision))
    assert phase(machine) is Phase.APPLYING


def test_an_interrupted_setup_goes_on_at_the_next_start(machine: Machine) -> None:
    """As if the power failed right after the phase was written, before the settings were."""
    session = machine.claim()
    machine.answer_everything(session)
    save_state(State(phase=Phase.APPLYING), machine.paths.state)
    agent = machine.boot()
    from unit.firstboot.machine import served

    with served(agent):
        assert machine.host.acts == ["provision"]
    settings = load_settings(machine.paths.settings)
    assert settings is not None
    assert settings.owner.name == "anna"


def test_apply_after_a_failure_tries_again(machine: Machine) -> None:
    session = machine.claim()
    revision = machine.answer_everything(session)
    machine.ask(Apply(session=session, revision=revision))
    save_state(State(phase=Phase.FAILED), machine.paths.state)
    machine.ask(Apply(session=session, revision=revision))
    assert phase(machine) is Phase.APPLYING
    assert machine.host.acts == ["provision", "provision"]


def test_trying_again_needs_no_password_that_is_forgotten_already(machine: Machine) -> None:
    """The last step forgets it; the process may die before it says that setup is over."""
    session = machine.claim()
    revision = machine.answer_everything(session)
    machine.ask(Apply(session=session, revision=revision))
    secrets = load_secrets(machine.paths.secrets)
    save_toml(replace(secrets, pending_password=""), machine.paths.secrets, mode=0o600)
    save_state(State(phase=Phase.FAILED), machine.paths.state)
    machine.ask(Apply(session=session, revision=revision))
    assert machine.host.acts == ["provision", "provision"]


def test_when_the_unit_does_not_start_the_phase_goes_back(machine: Machine) -> None:
    session = machine.claim()
    revision = machine.answer_everything(session)
    machine.host.refuse = CommandError("systemctl failed with exit code 1")
    with pytest.raises(CommandError):
        machine.ask(Apply(session=session, revision=revision))
    assert phase(machine) is Phase.SETUP
    machine.host.refuse = None
    machine.ask(Apply(session=session, revision=revision))
    assert machine.host.acts == ["provision"]


def test_what_is_missing_is_named_and_nothing_is_applied(machine: Machine) -> None:
    session = machine.claim()
    with pytest.raises(FieldError) as caught:
        machine.ask(Apply(session=session, revision=0))
    assert caught.value.field == "name"
    save_owner(machine, session, 0)
    with pytest.raises(FieldError) as caught:
        machine.ask(Apply(session=session, revision=1))
    assert caught.value.field == "server_name"
    assert phase(machine) is Phase.SETUP
    assert not machine.paths.settings.exists()


def test_answers_are_closed_once_setup_runs(machine: Machine) -> None:
    session = machine.claim()
    revision = machine.answer_everything(session)
    machine.ask(Apply(session=session, revision=revision))
    with pytest.raises(StateError, match="Setup has started"):
        save_owner(machine, session, revision, name="berta")


@pytest.mark.parametrize("damage", [None, "", '{"phase": "rea', '{"phase": "gone"}', "\0" * 400])
def test_a_lost_state_is_no_invitation_to_set_up_anew(machine: Machine, damage: str | None) -> None:
    reach_ready(machine)
    machine.paths.state.unlink()
    if damage is not None:
        machine.paths.state.write_text(damage)
    machine.boot()
    assert phase(machine) is Phase.READY
    assert machine.agent.gate.claim_code.plain == ""
    with pytest.raises(StateError, match="has been set up"):
        machine.ask(Claim(code="seven purple kettles", source="192.0.2.1"))


def test_a_lost_state_of_an_interrupted_setup_goes_on(machine: Machine) -> None:
    session = machine.claim()
    machine.ask(Apply(session=session, revision=machine.answer_everything(session)))
    machine.paths.state.unlink()
    machine.boot()
    assert phase(machine) is Phase.APPLYING
    assert machine.host.acts == ["provision", "provision"]


def test_when_setup_is_over_its_traces_go(machine: Machine) -> None:
    machine.preseed('claim_code = "seven purple kettles"\n')
    machine.boot()
    reach_ready(machine)
    assert not machine.paths.draft.exists()
    assert load_secrets(machine.paths.secrets).claim_hash == ""
    with pytest.raises(StateError, match="has been set up"):
        machine.ask(Claim(code="seven purple kettles", source="a"))


# ---- fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "Anna"}, "name"),
        ({"timezone": "Europe/Nowhere"}, "timezone"),
        ({"password": ""}, "password"),
        ({"password": "short"}, "password"),
        ({"password": "anna password"}, "password"),
    ],
)
def test_wrong_answers_name_their_field(
    machine: Machine, changes: dict[str, str], field: str
) -> None:
    session = machine.claim()
    with pytest.raises(FieldError) as caught:
        save_owner(machine, session, 0, **changes)
    assert caught.value.field == field
    assert machine.ask(GetDraft(session=session)).revision == 0
    assert load_secrets(machine.paths.secrets).pending_password == ""


def test_an_empty_password_keeps_the_one_before(machine: Machine) -> None:
    session = machine.claim()
    save_owner(machine, session, 0)
    draft = machine.ask(
        SaveOwner(session=session, revision=1, name="anna", timezone="Europe/Paris", password="")
    )
    assert draft.has_password
    assert load_secrets(machine.paths.secrets).pending_password == PASSWORD


def test_a_broken_character_is_refused(machine: Machine) -> None:
    session = machine.claim()
    line = encode_request(
        SaveOwner(session=session, revision=0, name="anna", timezone="UTC", password="PLACEHOLDER")
    ).replace(b"PLACEHOLDER", b"correct horse \\ud800 staple")
    reply = json.loads(machine.agent.answer(line))
    assert "broken character" in reply["error"]["message"]


# ---- two browsers -------------------------------------------------------------------------------


def test_the_second_browser_is_told_what_changed(machine: Machine) -> None:
    first, second = machine.claim(), machine.agent.gate.sessions.issue()
    save_owner(machine, first, 0)
    with pytest.raises(ConflictError) as caught:
        save_owner(machine, second, 0, name="berta")
    assert "your name" in caught.value.message
    assert "the password" in caught.value.message
    assert machine.ask(GetDraft(session=second)).owner_name == "anna"


def test_an_old_review_page_cannot_apply(machine: Machine) -> None:
    session = machine.claim()
    revision = machine.answer_everything(session)
    machine.ask(
        SaveServer(session=session, revision=revision, name="other.example.org", reach=Reach.LAN)
    )
    with pytest.raises(ConflictError, match="the server name"):
        machine.ask(Apply(session=session, revision=revision))
    assert machine.host.acts == []


def test_the_same_answer_sent_again_is_no_conflict(machine: Machine) -> None:
    session = machine.claim()
    one = save_owner(machine, session, 0)
    assert save_owner(machine, session, 0) == one


# ---- sessions and sign-in -----------------------------------------------------------------------


def test_everything_that_changes_something_needs_a_session(machine: Machine) -> None:
    machine.claim()
    for request in (
        GetDraft(session="x"),
        SaveOwner(session="x", revision=0, name="a", timezone="UTC", password=PASSWORD),
        SaveServer(session="x", revision=0, name="a.example.org", reach=Reach.LAN),
        SaveHomeserver(session="x", revision=0, software=Software.SYNAPSE),
        StartNetworkCheck(session="x"),
        PassNetwork(session="x"),
        SaveAddress(session="x", revision=0, provider="none"),
        StartAddressCheck(session="x"),
        Apply(session="x", revision=0),
        MakeRecoveryFile(session="x", passphrase=PASSWORD),
        EraseData(session="x", confirm="erase"),
    ):
        with pytest.raises(AccessError):
            machine.ask(request)


def test_sign_out(machine: Machine) -> None:
    session = machine.claim()
    machine.ask(SignOut(session=session))
    with pytest.raises(AccessError):
        machine.ask(GetDraft(session=session))


def test_the_password_opens_after_setup_and_wrong_ones_wait(machine: Machine) -> None:
    with pytest.raises(StateError, match="not set up"):
        machine.ask(SignIn(password=PASSWORD, source="a"))
    reach_ready(machine)
    assert machine.ask(SignIn(password=PASSWORD, source="a")).token
    for _ in range(3):
        with pytest.raises(AccessError, match="not the owner's password"):
            machine.ask(SignIn(password="wrong", source="b"))
    with pytest.raises(AccessError, match="Too many"):
        machine.ask(SignIn(password=PASSWORD, source="b"))
    assert machine.ask(SignIn(password=PASSWORD, source="a")).token
    machine.clock.now += 2
    assert machine.ask(SignIn(password=PASSWORD, source="b")).token


# ---- a card without a place for data ------------------------------------------------------------


@pytest.mark.parametrize("data", [c for c in DataCondition if c is not DataCondition.OK])
def test_without_a_place_to_keep_things_nothing_is_asked(tmp_path, data: DataCondition) -> None:
    machine = Machine(tmp_path, data=data)
    machine.start()
    assert machine.ask(GetStatus()).data == data.value
    session = machine.claim()
    with pytest.raises(StateError, match="no place to keep"):
        save_owner(machine, session, 0)
    with pytest.raises(StateError, match="no place to keep"):
        machine.ask(Apply(session=session, revision=0))


def test_no_data_to_erase(machine: Machine) -> None:
    session = machine.claim()
    with pytest.raises(HearthError, match="no data of an earlier Hearth"):
        machine.ask(EraseData(session=session, confirm="erase"))
    assert machine.host.acts == []
