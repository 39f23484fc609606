"""What children and light modules do for the agent: recovery file and certificate."""

from __future__ import annotations

import base64
import ssl
import sys

import pytest

from appliance.aftercare import MakeRecoveryFile
from appliance.errors import CommandError, FieldError, StateError
from appliance.protocol import Apply, GetAuthority, GetStatus
from appliance.run import run
from appliance.settings import Software
from appliance.state import Phase, State, save_state
from services.authority import authority_certificate
from services.homeserver import find_homeserver
from services.recovery import open_recovery_file
from unit.firstboot.machine import PASSWORD, Machine


@pytest.fixture
def session(machine: Machine) -> str:
    """The owner's session on a machine whose setup is over."""
    token = machine.claim()
    machine.ask(Apply(session=token, revision=machine.answer_everything(token)))
    save_state(State(phase=Phase.READY), machine.paths.state)
    machine.agent.settle()
    return token


def test_a_recovery_file_that_opens_with_its_passphrase(machine: Machine, session: str) -> None:
    key = find_homeserver(Software.SYNAPSE).signing_key(machine.paths)
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text("ed25519 a_key secret\n")
    file = machine.ask(MakeRecoveryFile(session=session, passphrase=PASSWORD))
    content = base64.b64decode(file.content)
    assert b"ed25519 a_key secret" not in content
    recovery = open_recovery_file(content, PASSWORD)
    assert recovery.server_name == "home.example.org"
    assert recovery.files[str(key.relative_to(machine.paths.data))] == key.read_bytes()


def test_what_the_child_says_is_passed_on(machine: Machine, session: str) -> None:
    with pytest.raises(CommandError, match="signing key"):
        machine.ask(MakeRecoveryFile(session=session, passphrase=PASSWORD))


def test_a_short_passphrase_is_a_matter_of_its_field(machine: Machine, session: str) -> None:
    with pytest.raises(FieldError) as caught:
        machine.ask(MakeRecoveryFile(session=session, passphrase="short"))
    assert caught.value.field == "passphrase"


def test_there_is_nothing_to_recover_before(machine: Machine) -> None:
    with pytest.raises(StateError, match="not over"):
        machine.ask(MakeRecoveryFile(session=machine.claim(), passphrase=PASSWORD))


def test_the_certificate_for_anyone_and_its_fingerprint(machine: Machine) -> None:
    with pytest.raises(StateError):
        machine.ask(GetAuthority())
    assert machine.ask(GetStatus()).authority_fingerprint == ""
    path = authority_certificate(machine.paths)
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = ssl.DER_cert_to_PEM_cert(b"any bytes will do for a fingerprint")
    path.write_text(pem)
    file = machine.ask(GetAuthority())
    assert base64.b64decode(file.content).decode() == pem
    assert len(machine.ask(GetStatus()).authority_fingerprint) == 32 * 3 - 1


def test_the_agent_loads_no_big_library() -> None:
    """It stays in memory for good; what these need is done by children."""
    big = ("cryptography", "jinja2", "segno", "requests", "flask", "psycopg2", "PIL", "yaml")
    code = (
        "import sys, firstboot.resident, services.authority;"
        f"print([name for name in {big!r} if name in sys.modules])"
    )
    path = ":".join(part for part in sys.path if part)
    assert run([sys.executable, "-c", code], env={"PYTHONPATH": path}).stdout.strip() == "[]"
