"""Whose data are these: the old owner's password, asked from a card that was flashed again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from appliance.bootreport import DataCondition
from appliance.errors import AccessError, StateError
from appliance.fate import AdoptData, EraseData
from appliance.layout import DATA
from appliance.run import run
from appliance.settings import Secrets, save_toml
from appliance.tables import to_table
from firstboot.portmap import World, keep_ports
from firstboot.storage import prepare
from services.disk import Disk
from services.mbr import has_data, read_table
from services.olddata import OldOwner, adopt, erase, mounted
from services.passwords import hash_secret
from services.portmap.contract import Held, State
from services.portmap.igd import Igd
from services.portmap.mapper import PORTS
from services.portmap.place import Place
from services.reach import PORTMAP, PortmapResult
from services.results import load_result
from services.superblock import read_label
from unit.firstboot.machine import PASSWORD, Machine
from unit.services.appliance_files import RecordedUnits
from unit.services.card import first_sector, fsck, make_card
from unit.services.gateway_igd import IgdGateway

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs root and loop devices"
)


def make_found(card: Path, *, owned: bool, ports: State | None = None) -> Path:
    """An earlier Hearth's card after a new image was written over its table."""
    make_card(card)
    table = first_sector(card)
    with Disk(card) as disk:
        prepare(disk, card.parent)
    if owned:
        secrets = card.parent / "secrets.toml"
        save_toml(Secrets(owner_password_hash=hash_secret(PASSWORD)), secrets, mode=0o600)
        run(["debugfs", "-w", "-R", f"write {secrets} hearth/secrets.toml",
             f"{card}?offset={DATA.start}"])  # fmt: skip
    if ports is not None:
        result = card.parent / "portmap.json"
        result.write_text(json.dumps(to_table(PortmapResult(ports=ports))))
        for command in ("mkdir hearth/results", f"write {result} hearth/results/portmap.json"):
            run(["debugfs", "-w", "-R", command, f"{card}?offset={DATA.start}"])
    with card.open("r+b") as file:
        file.write(table)
    return card


@pytest.fixture
def found(tmp_path: Path) -> Path:
    return make_found(tmp_path / "card", owned=True)


def is_adopted(card: Path) -> bool:
    with Disk(card) as disk:
        return has_data(read_table(disk))


def loops() -> str:
    return run(["losetup", "--list", "--noheadings"]).stdout


def test_the_old_owner_is_known_by_the_password(found: Path, tmp_path: Path) -> None:
    place, before = tmp_path / "place", loops()
    owner = OldOwner(found, mount_point=place)
    assert owner.has(PASSWORD)
    assert not owner.has("another password")
    assert loops() == before
    assert not place.is_mount()
    assert not is_adopted(found)


def test_it_is_mounted_read_only(found: Path, tmp_path: Path) -> None:
    with mounted(found, tmp_path / "place") as root:
        with pytest.raises(OSError, match="Read-only"):
            (root / "hearth" / "x").touch()
        assert (root / "hearth" / "secrets.toml").exists()
    fsck(found)


def test_a_hearth_that_was_never_set_up_has_no_owner(tmp_path: Path) -> None:
    card = make_found(tmp_path / "card", owned=False)
    with pytest.raises(StateError, match="never set up"):
        OldOwner(card, mount_point=tmp_path / "place").has(PASSWORD)


def test_one_beyond_repair_is_left_as_it_is(found: Path, tmp_path: Path) -> None:
    with found.open("r+b") as file:
        file.seek(DATA.start + 4096)
        file.write(b"\xff" * 4096 * 40)
    before = loops()
    with pytest.raises(StateError, match="damaged"):
        OldOwner(found, mount_point=tmp_path / "place").has(PASSWORD)
    assert loops() == before
    with Disk(found) as disk:
        assert read_label(disk, DATA.start) == DATA.label


def test_adopt_or_erase_only_what_was_found(found: Path) -> None:
    adopt(found)
    assert is_adopted(found)
    for act in (adopt, erase):
        with pytest.raises(StateError, match="no data of an earlier Hearth"):
            act(found)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "machine", data=DataCondition.FOUND)
    make_found(made.paths.root / "disk.img", owned=True)
    made.start()
    return made


def test_the_pages_adopt_with_the_password_only(machine: Machine) -> None:
    with pytest.raises(AccessError, match="not the password"):
        machine.ask(AdoptData(password="wrong password", source="a"))
    assert machine.host.acts == []
    machine.ask(AdoptData(password=PASSWORD, source="a"))
    assert machine.host.acts == ["reboot"]
    assert is_adopted(machine.paths.root / "disk.img")


def test_guesses_at_the_old_password_wait_as_well(machine: Machine) -> None:
    for _ in range(3):
        with pytest.raises(AccessError):
            machine.ask(AdoptData(password="wrong password", source="a"))
    with pytest.raises(AccessError, match="Too many"):
        machine.ask(AdoptData(password=PASSWORD, source="a"))
    assert not is_adopted(machine.paths.root / "disk.img")


@pytest.mark.parametrize("is_damaged", [False, True])
def test_guesses_do_not_keep_the_card_busy(machine: Machine, is_damaged: bool) -> None:
    """Checking it may take minutes, and nobody else gets in meanwhile."""
    card = machine.paths.root / "disk.img"
    if is_damaged:
        with card.open("r+b") as file:
            file.seek(DATA.start + 4096)
            file.write(b"\xff" * 4096 * 40)
    said = []
    for _ in range(2):
        with pytest.raises((AccessError, StateError)) as caught:
            machine.ask(AdoptData(password="wrong password", source="a"))
        said.append(caught.value.message)
        card.unlink(missing_ok=True)  # so that a second look at it would fail
    assert said[0] == said[1]


def test_the_pages_erase_with_a_session_and_the_word(machine: Machine) -> None:
    session = machine.claim()
    with pytest.raises(Exception, match="'erase'"):
        machine.ask(EraseData(session=session, confirm="yes"))
    assert machine.host.acts == []
    machine.ask(EraseData(session=session, confirm="Erase "))
    assert machine.host.acts == ["reboot"]
    with Disk(machine.paths.root / "disk.img") as disk:
        assert prepare(disk, machine.paths.root)[2]


@pytest.mark.parametrize(("leases", "is_lasting"), [((0, 3600), True), ((3600, 3600), False)])
def test_ports_that_were_opened_for_good_are_given_back_first(
    tmp_path: Path, leases: tuple[int, int], *, is_lasting: bool
) -> None:
    """The agent leaves them to the job, which then runs before anything is erased."""
    machine = Machine(tmp_path / "machine", data=DataCondition.FOUND)
    held = tuple(
        Held(port=port, lease=lease, renewed=5.0)
        for port, lease in zip(PORTS[:2], leases, strict=True)
    )
    ports = State(protocol="igd", lan="192.0.2.7", gateway="192.0.2.1", held=held)
    make_found(machine.paths.root / "disk.img", owned=True, ports=ports)
    machine.start()
    machine.ask(EraseData(session=machine.claim(), confirm="erase"))
    wanted = ["give back ports", "reboot"] if is_lasting else ["reboot"]
    assert machine.host.acts == wanted
    left = load_result(machine.paths, PORTMAP, PortmapResult)
    if not is_lasting:
        assert left is None
        return
    assert left is not None
    assert (left.ports.left, left.ports.former) == (PORTS[:1], ("192.0.2.7",))
    # What the unit does, with a router that has that line and one of somebody else's.
    with IgdGateway() as gateway:
        for port, client in ((80, "192.0.2.7"), (443, "192.0.2.66")):
            gateway.table[port] = {
                "NewInternalPort": "8080", "NewInternalClient": client, "NewEnabled": "1",
                "NewPortMappingDescription": f"Hearth {port}", "NewLeaseDuration": "0",
            }  # fmt: skip
        world = World(
            place=lambda: Place(gateway="192.0.2.1", lan="127.0.0.1"),
            ways=lambda _place, former: {
                "igd": lambda: Igd("127.0.0.1", location=gateway.location, former=former)
            },
            redirect=lambda **_: None,
        )
        assert keep_ports(machine.paths, RecordedUnits(), world=world) == 0
        assert set(gateway.table) == {443}
    left = load_result(machine.paths, PORTMAP, PortmapResult)
    assert left is not None
    assert (left.ports.held, left.ports.left) == ((), ())
