"""A factory reset as it is asked for: pages, passwords, the file on the card, a damaged card."""

from __future__ import annotations

import argparse
import io
import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.bootreport import DataCondition
from appliance.errors import AccessError, FieldError, HearthError, StateError, UsageError
from appliance.fate import BringBack, FactoryReset
from appliance.layout import DATA, NEW_DATA_LABEL, SLOT_B
from appliance.protocol import Claim, GetStatus
from appliance.settings import Secrets, save_toml
from appliance.state import Phase, State, save_state
from appliance.update import Stage, UpdateState
from firstboot import reset_verbs
from firstboot.reset_card import perform
from firstboot.storage import prepare
from services.disk import Disk
from services.mbr import has_data, read_table, remove_data
from services.passwords import hash_secret
from services.reset import Act, format_damaged, has_kept, load_done, load_order
from services.superblock import give_up, read_label
from services.update.state import save_update
from unit.firstboot.machine import Machine
from unit.services.card import copy_card, first_sector, fsck, make_card, marks_are_whole

PASSWORD = "correct horse battery staple"
SOURCE = "192.0.2.10"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    for directory in (made.paths.system, made.paths.update):
        directory.mkdir()
    made.start()
    return made


def set_up(machine: Machine) -> str:
    """An appliance after setup; the owner's session."""
    session = machine.claim()
    save_toml(Secrets(owner_password_hash=hash_secret(PASSWORD)), machine.paths.secrets, mode=0o600)
    save_state(State(phase=Phase.READY), machine.paths.state)
    return session


def restart(machine: Machine) -> None:
    """What a start does: the initramfs first, then the agent."""
    perform(machine.paths)
    machine.boot()


def reset(machine: Machine, session: str, *, confirm: str = "reset", keep: bool = True) -> None:
    machine.ask(FactoryReset(session=session, confirm=confirm, keep=keep))


def test_the_owner_resets_and_the_next_start_has_a_new_claim_code(machine: Machine) -> None:
    code = machine.agent.gate.claim_code.plain
    session = set_up(machine)
    reset(machine, session, confirm=" Reset ", keep=False)
    assert machine.host.acts == ["reset"]
    restart(machine)
    assert machine.agent.setup.phase is Phase.UNCLAIMED
    assert machine.agent.gate.claim_code.plain not in ("", code)
    assert (
        machine.agent.gate.claim_code.plain[:4]
        in (machine.paths.bootfs / "claim-code.txt").read_text()
    )
    with pytest.raises(AccessError):
        reset(machine, session)
    assert not has_kept(machine.paths)


@pytest.mark.parametrize("confirm", ["", "erase", "yes", "rest"])
def test_only_the_typed_word_confirms(machine: Machine, confirm: str) -> None:
    session = set_up(machine)
    with pytest.raises(FieldError) as caught:
        reset(machine, session, confirm=confirm)
    assert caught.value.field == "confirm"
    assert load_order(machine.paths) is None
    assert machine.host.acts == []


def test_nobody_resets_without_a_session(machine: Machine) -> None:
    set_up(machine)
    for session in ("", "x" * 43):
        with pytest.raises(AccessError):
            reset(machine, session)
    assert load_order(machine.paths) is None


def test_not_during_a_trial(machine: Machine) -> None:
    session = set_up(machine)
    save_update(machine.paths, UpdateState(stage=Stage.TRIAL))
    with pytest.raises(StateError, match="on trial"):
        reset(machine, session)
    assert machine.host.acts == []


def test_the_data_of_before_come_back_by_their_owners_password(machine: Machine) -> None:
    reset(machine, set_up(machine))
    restart(machine)
    with pytest.raises(AccessError, match="not the password of the owner"):
        machine.ask(BringBack(password="wrong horse", source=SOURCE))
    machine.ask(BringBack(password=PASSWORD, source="192.0.2.11"))
    order = load_order(machine.paths)
    assert order is not None
    assert order.act is Act.BRING_BACK
    assert machine.host.acts == ["reset", "reset"]
    restart(machine)
    assert machine.agent.setup.phase is Phase.READY
    assert machine.agent.gate.sign_in(PASSWORD, SOURCE, Phase.READY)


def test_guesses_at_that_password_are_slowed_down(machine: Machine) -> None:
    reset(machine, set_up(machine))
    restart(machine)
    errors = []
    for number in range(12):
        with pytest.raises(HearthError) as caught:
            machine.ask(BringBack(password=f"guess {number}", source=SOURCE))
        errors.append(str(caught.value))
    assert len(set(errors)) > 1, "the back-off never came"


@pytest.mark.parametrize("phase", [Phase.SETUP, Phase.APPLYING, Phase.READY])
def test_whoever_has_claimed_the_appliance_since_must_agree(machine: Machine, phase: Phase) -> None:
    """Or the seller's password would take the buyer's messages away."""
    reset(machine, set_up(machine))
    restart(machine)
    code = machine.agent.gate.claim_code.plain
    buyer = machine.ask(Claim(code=code, source=SOURCE)).token
    save_state(State(phase=phase), machine.paths.state)
    with pytest.raises(AccessError, match="not signed in"):
        machine.ask(BringBack(password=PASSWORD, source=SOURCE))
    machine.ask(BringBack(password=PASSWORD, source=SOURCE, session=buyer))
    restart(machine)
    assert machine.agent.setup.phase is Phase.READY


def test_nothing_to_bring_back(machine: Machine) -> None:
    with pytest.raises(StateError, match="no data of before"):
        machine.ask(BringBack(password=PASSWORD, source=SOURCE))
    reset(machine, machine.claim())
    restart(machine)
    with pytest.raises(StateError, match="never set up"):
        machine.ask(BringBack(password=PASSWORD, source=SOURCE))


def put_file(machine: Machine, name: str = "hearth-reset", text: str = "", *, at: int = 1) -> Path:
    file = machine.paths.bootfs / name
    file.write_text(text)
    os.utime(file, (at, at))
    return file


@pytest.mark.parametrize("name", ["hearth-reset", "hearth-reset.txt"])
@pytest.mark.parametrize(("text", "keep"), [("", False), ("\ufeffkeep\r\n", True), ("KEEP", True)])
def test_a_file_on_the_card_resets(machine: Machine, name: str, text: str, keep: bool) -> None:
    set_up(machine)
    file = put_file(machine, name, text)
    machine.start()
    assert machine.host.acts == ["reset"]
    assert not file.exists()
    assert not machine.agent.is_prepared
    restart(machine)
    assert machine.agent.setup.phase is Phase.UNCLAIMED
    assert has_kept(machine.paths) is keep
    assert machine.host.acts == ["reset"], "once"


def test_a_file_that_cannot_be_removed_is_obeyed_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(machine)
    put_file(machine)

    def protected(_self: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", protected)
        machine.start()
    assert machine.host.acts == ["reset"]
    restart(machine)
    machine.boot()
    assert machine.host.acts == ["reset"]
    assert not (machine.paths.bootfs / "hearth-reset").exists(), "removed once it could be"
    put_file(machine, at=2)
    machine.boot()
    assert machine.host.acts == ["reset", "reset"], "another file is another request"


def test_a_file_resets_during_a_trial_too(machine: Machine) -> None:
    set_up(machine)
    save_update(machine.paths, UpdateState(stage=Stage.TRIAL))
    put_file(machine)
    machine.start()
    assert machine.host.acts == ["reset"]


# ---- a data partition that cannot be mounted


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    card = make_card(root / "card")
    with Disk(card) as disk:
        assert prepare(disk, root) == (DataCondition.OK, "", True)
    return card


@pytest.fixture
def damaged(finished: Path, tmp_path: Path) -> Machine:
    """The root directory's blocks are gone; superblock and label are there."""
    card = copy_card(finished, tmp_path / "disk.img")
    with card.open("r+b") as file:
        file.seek(DATA.start + 4096)
        file.write(b"\xa5" * 64 * 4096)
    machine = Machine(tmp_path / "machine", data=DataCondition.DAMAGED)
    machine.report = replace(machine.report, disk=card)
    machine.boot()
    return machine


def card_of(machine: Machine) -> Path:
    assert machine.report.disk is not None
    return machine.report.disk


def made_anew(card: Path, workspace: Path) -> bool:
    with Disk(card) as disk:
        outcome = prepare(disk, workspace)
        slot_b = read_table(disk)[SLOT_B.number]
    fsck(card)
    return outcome == (DataCondition.OK, "", True) and slot_b.start == SLOT_B.start


def test_damaged_data_are_made_anew(damaged: Machine, tmp_path: Path) -> None:
    session = damaged.claim()
    with pytest.raises(FieldError) as caught:
        reset(damaged, session, keep=True)
    assert caught.value.field == "keep"
    reset(damaged, session, keep=False)
    assert damaged.host.acts == ["reboot"]
    card = card_of(damaged)
    with Disk(card) as disk:
        table = read_table(disk)
        assert not has_data(table)
        assert table[SLOT_B.number].start == SLOT_B.start, "it may be the one that starts"
    assert made_anew(card, tmp_path)
    assert marks_are_whole(card)


@pytest.mark.parametrize("cut", ["before", "between", "after"])
def test_a_cut_while_damaged_data_are_given_up(damaged: Machine, tmp_path: Path, cut: str) -> None:
    """The two sector writes one by one: as damaged as before, or made anew."""
    card = card_of(damaged)
    with Disk(card) as disk:
        if cut != "before":
            give_up(disk, DATA.start, NEW_DATA_LABEL)
        if cut == "after":
            remove_data(disk)
    if cut == "after":
        assert made_anew(card, tmp_path)
        return
    with Disk(card) as disk:
        condition, _, is_new = prepare(disk, tmp_path)
        assert (condition, is_new) != (DataCondition.OK, cut == "before")
        assert read_label(disk, DATA.start) == DATA.label, "the check will find it damaged again"
    format_damaged(card)
    assert made_anew(card, tmp_path)


def test_a_file_on_the_card_makes_damaged_data_anew_once(damaged: Machine, tmp_path: Path) -> None:
    file = put_file(damaged)
    damaged.boot()
    assert damaged.host.acts == ["reboot"]
    assert not file.exists()
    assert made_anew(card_of(damaged), tmp_path)


def test_no_loop_where_damaged_data_meet_a_write_protected_card(
    damaged: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file(damaged)
    before = first_sector(card_of(damaged))

    def protected(_self: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", protected)
        damaged.start()
    assert damaged.host.acts == []
    assert damaged.agent.is_prepared
    assert first_sector(card_of(damaged)) == before


@pytest.mark.parametrize("data", [DataCondition.MISSING, DataCondition.FOUND])
def test_where_there_is_nothing_to_reset(tmp_path: Path, data: DataCondition) -> None:
    machine = Machine(tmp_path, data=data)
    machine.start()
    with pytest.raises(StateError):
        reset(machine, machine.claim())
    assert machine.host.acts == []
    assert load_done(machine.paths) is None


# ---- at the terminal


def hearthctl(machine: Machine, *words: str) -> int:
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers()
    reset_verbs.add_verbs(lambda name, *_: verbs.add_parser(name))
    return reset_verbs.reset(machine.paths, machine.host, parser.parse_args(["reset", *words]))


def test_at_the_terminal_with_the_word(machine: Machine, capsys: pytest.CaptureFixture) -> None:
    set_up(machine)
    assert hearthctl(machine, "--keep", "--confirm", "reset") == 0
    order = load_order(machine.paths)
    assert order is not None
    assert (order.keep, order.origin) == (True, "terminal")
    assert machine.host.acts == ["reset"]
    assert "other servers" in capsys.readouterr().out
    restart(machine)
    assert hearthctl(machine, "--status", "--json") == 0
    assert '"kept": true' in capsys.readouterr().out
    assert hearthctl(machine, "--bring-back", "--confirm", "reset") == 0
    restart(machine)
    assert machine.agent.setup.phase is Phase.READY
    assert hearthctl(machine, "--status") == 0
    assert "No earlier data" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--confirm", "yes"], ["--confirm", ""], []])
def test_at_the_terminal_without_it(
    machine: Machine, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(machine)
    monkeypatch.setattr("sys.stdin", io.StringIO("reset\n"))  # no terminal: nobody typed it
    with pytest.raises((FieldError, UsageError)):
        hearthctl(machine, *words)
    assert load_order(machine.paths) is None


def test_a_dry_run_orders_nothing(machine: Machine, capsys: pytest.CaptureFixture) -> None:
    set_up(machine)
    assert hearthctl(machine, "--dry-run") == 0
    assert "Would reset" in capsys.readouterr().out
    assert load_order(machine.paths) is None
    assert machine.host.acts == []


def test_pages_are_told_what_was_kept(machine: Machine) -> None:
    assert machine.ask(GetStatus()).kept_hours == 0
    reset(machine, set_up(machine))
    restart(machine)
    assert machine.ask(GetStatus()).kept_hours == 24
