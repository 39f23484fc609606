"""Where the claim code is, who can read it, and when it is another one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.errors import AccessError
from appliance.protocol import Claim, GetStatus
from appliance.settings import load_secrets
from appliance.state import Phase, State, save_state
from services.bootfs import CLAIM_CODE_FILE
from unit.firstboot.machine import Machine

PRESET = "seven purple kettles"


def card_file(machine: Machine) -> Path:
    return machine.paths.bootfs / CLAIM_CODE_FILE


def console_file(machine: Machine) -> Path:
    return machine.paths.runtime / "claim-code"


def test_it_is_readable_where_the_box_is_held_and_hashed_elsewhere(machine: Machine) -> None:
    code = machine.agent.gate.claim_code.plain
    shown = f"{code[:4]}-{code[4:]}"
    assert card_file(machine).read_text().splitlines()[0] == shown
    assert console_file(machine).read_text() == f"{shown}\n"
    assert console_file(machine).stat().st_mode & 0o777 == 0o600
    secrets = machine.paths.secrets.read_text()
    assert code not in secrets
    assert shown not in secrets
    assert load_secrets(machine.paths.secrets).claim_hash.startswith("scrypt$")


def test_it_stays_the_same_until_used(machine: Machine) -> None:
    code = machine.agent.gate.claim_code.plain
    assert machine.start().gate.claim_code.plain == code
    assert machine.boot().gate.claim_code.plain == code


@pytest.mark.parametrize("how", ["{}", "lower", "no hyphen"])
def test_it_opens_as_typed(machine: Machine, how: str) -> None:
    code = console_file(machine).read_text().strip()
    typed = {"{}": code, "lower": code.lower(), "no hyphen": code.replace("-", "")}[how]
    assert machine.ask(Claim(code=typed, source="a")).token


def test_after_the_claim_it_is_gone_from_everywhere(machine: Machine) -> None:
    machine.claim()
    assert not card_file(machine).exists()
    assert not console_file(machine).exists()
    assert machine.agent.gate.claim_code.plain == ""


def test_a_wrong_code_changes_nothing(machine: Machine) -> None:
    with pytest.raises(AccessError, match="not the claim code"):
        machine.ask(Claim(code="AAAA-AAAA", source="a"))
    assert machine.ask(GetStatus()).phase is Phase.UNCLAIMED
    assert card_file(machine).exists()


def test_the_owners_second_browser_gets_in_with_the_used_code(machine: Machine) -> None:
    code = machine.agent.gate.claim_code.plain
    first = machine.claim()
    second = machine.ask(Claim(code=code, source="b")).token
    assert first != second
    machine.start()
    assert machine.ask(Claim(code=code, source="b")).token
    with pytest.raises(AccessError):
        machine.ask(Claim(code="AAAA-AAAA", source="c"))


def test_a_forgotten_code_is_replaced_by_a_reboot_before_setup_is_over(machine: Machine) -> None:
    old = machine.agent.gate.claim_code.plain
    session = machine.claim()
    machine.answer_everything(session)
    new = machine.boot().gate.claim_code.plain
    assert new
    assert new != old
    with pytest.raises(AccessError):
        machine.ask(Claim(code=old, source="a"))
    assert machine.ask(GetStatus()).phase is Phase.SETUP
    machine.claim()
    assert not card_file(machine).exists()


def test_a_ready_machine_makes_none(machine: Machine) -> None:
    save_state(State(phase=Phase.READY), machine.paths.state)
    machine.paths.secrets.unlink()
    card_file(machine).unlink()
    assert machine.boot().gate.claim_code.plain == ""
    assert not card_file(machine).exists()
    assert load_secrets(machine.paths.secrets).claim_hash == ""


def test_without_bootfs_the_code_is_on_the_console_and_new_at_each_boot(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.paths.bootfs.rmdir()
    first = machine.start().gate.claim_code.plain
    assert console_file(machine).read_text().strip().replace("-", "") == first
    assert machine.start().gate.claim_code.plain == first
    assert machine.boot().gate.claim_code.plain != first


def test_an_owners_own_code(machine: Machine) -> None:
    machine.preseed(f'# mine\nclaim_code = "{PRESET}"\ntimezone = "Europe/Berlin"\n')
    machine.boot()
    assert machine.ask(Claim(code=PRESET.upper(), source="a")).token
    text = (machine.paths.bootfs / "hearth.toml").read_text()
    assert PRESET not in text
    assert "# mine\n" in text
    assert 'timezone = "Europe/Berlin"\n' in text


def test_a_weak_code_of_the_owners_is_replaced_and_said_so(machine: Machine) -> None:
    machine.preseed('claim_code = "1234"\n')
    machine.boot()
    [note] = machine.ask(GetStatus()).notes
    assert "claim_code" in note
    assert "1234" not in note
    with pytest.raises(AccessError):
        machine.ask(Claim(code="1234", source="a"))
    assert machine.claim()


def test_a_changed_preset_replaces_the_code_before(machine: Machine) -> None:
    old = machine.agent.gate.claim_code.plain
    machine.preseed(f'claim_code = "{PRESET}"\n')
    machine.boot()
    with pytest.raises(AccessError):
        machine.ask(Claim(code=old, source="a"))
    assert machine.ask(Claim(code=PRESET, source="a")).token


def test_a_card_file_that_somebody_edited_is_not_believed(machine: Machine) -> None:
    card_file(machine).write_text("AAAA-AAAA\n")
    code = machine.boot().gate.claim_code.plain
    assert code != "AAAAAAAA"
    assert card_file(machine).read_text().startswith(code[:4])


def test_guesses_sent_all_at_once_gain_nothing(machine: Machine) -> None:
    """After the claim each costs a hash, time enough for the next ones to be let in beside it."""
    machine.claim()

    def guess(number: int) -> str:
        try:
            machine.ask(Claim(code=f"AAAA-AA{number:02d}", source="198.51.100.9"))
        except AccessError as error:
            return error.message
        return ""

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(guess, range(16)))
    assert sum("not the claim code" in text for text in answers) == 3
    assert sum("Too many wrong answers" in text for text in answers) == 13


def test_a_source_is_kept_only_as_long_as_an_address(machine: Machine) -> None:
    for number in range(4):
        with pytest.raises(AccessError):
            machine.ask(Claim(code=f"AAAA-AA{number:02d}", source="x" * 60_000))
    assert (machine.paths.runtime / "attempts.json").stat().st_size < 200
