"""What is decided about a database before a program may use it, and what the small files hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import StateError
from appliance.layout import GIB, MIB
from appliance.paths import Paths
from services.homeserver.schema import Schema, code_schema, parse_schema
from services.homeserver.synapse import SITE
from services.snapshots import record
from services.snapshots.ageing import age, note_commit
from services.snapshots.policy import RESERVE, SMALL, Act, Facts, can_read, choose_form, plan
from services.snapshots.record import Form, Snapshot
from unit.services.appliance_files import make_appliance

OLD, NEW = "synapse 1.163.2 schema 94", "synapse 1.170.0 schema 96"
OLD_CODE, NEW_CODE = Schema(version=94, compatible=84), Schema(version=96, compatible=94)
AS_OLD, READABLE, AHEAD = OLD_CODE, NEW_CODE, Schema(version=97, compatible=96)
BEFORE = Snapshot(name="old", identity=OLD, successor=NEW, form=Form.DUMP, schema=AS_OLD)


def facts(identity: str, touched: str, database: Schema | None, **more: object) -> Facts:
    code = OLD_CODE if identity == OLD else NEW_CODE
    values = {"snapshot": None, **more}
    return Facts(identity=identity, code=code, touched=touched, database=database, **values)


@pytest.mark.parametrize(
    ("given", "act"),
    [
        (facts(OLD, "", None), Act.RECORD),
        (facts(OLD, OLD, AS_OLD), Act.NOTHING),
        # the trial: its first start, and every one after it
        (facts(NEW, OLD, AS_OLD), Act.SNAPSHOT),
        (facts(NEW, NEW, READABLE, snapshot=BEFORE), Act.NOTHING),
        # a card whose record was lost, or flashed again: not known who used it last
        (facts(NEW, "", AS_OLD), Act.SNAPSHOT),
        # back in the old slot
        (facts(OLD, NEW, READABLE, snapshot=BEFORE), Act.KEEP),
        (facts(OLD, NEW, AHEAD, snapshot=BEFORE), Act.RESTORE),
        # the new one was committed: going back would lose more than a trial
        (facts(OLD, NEW, AHEAD, snapshot=replace(BEFORE, committed=True)), Act.REFUSE),
        (facts(OLD, NEW, READABLE, snapshot=replace(BEFORE, committed=True)), Act.KEEP),
        (facts(OLD, NEW, AHEAD), Act.REFUSE),
        # the record was lost before the trial: whoever it was, it was not the new one
        (facts(OLD, NEW, AHEAD, snapshot=replace(BEFORE, identity="unknown")), Act.RESTORE),
        (facts(OLD, NEW, READABLE, snapshot=replace(BEFORE, identity="unknown")), Act.KEEP),
        (
            facts(NEW, OLD, AS_OLD, snapshot=replace(BEFORE, identity="unknown")),
            Act.SNAPSHOT,
        ),
        # after a roll-back that kept the database, the next trial of the same version
        (facts(NEW, OLD, READABLE), Act.SNAPSHOT),
        # a power cut while going back
        (facts(OLD, NEW, None, snapshot=BEFORE, restoring=True), Act.RESTORE),
        (facts(OLD, OLD, AS_OLD, snapshot=BEFORE, restoring=True), Act.RESTORE),
    ],
)
def test_plan(given: Facts, act: Act) -> None:
    assert plan(given) is act


def test_a_program_that_declares_nothing_reads_what_it_left_itself() -> None:
    left = Schema(migrations=("a", "b"))
    assert can_read(Schema(), replace(left, migrations=("b", "a")), left)
    assert not can_read(Schema(), replace(left, migrations=("a", "b", "c")), left)
    assert can_read(Schema(), left, None), "without a snapshot it counts as the newer one"


@pytest.mark.parametrize(
    ("size", "cluster", "free", "form"),
    [
        (20 * MIB, 60 * MIB, 8 * GIB, Form.DUMP),
        (SMALL, SMALL + 60 * MIB, 8 * GIB, Form.DUMP),
        (2 * GIB, 2 * GIB, 8 * GIB, Form.COPY),
        (2 * GIB, 2 * GIB, 2 * GIB, Form.DUMP),  # no room for the quick way back
        (2 * GIB, 2 * GIB, GIB + RESERVE - 1, None),
        (20 * MIB, 60 * MIB, RESERVE + 10 * MIB, Form.DUMP),
        (20 * MIB, 60 * MIB, RESERVE, None),
    ],
)
def test_form_by_size_and_space(size: int, cluster: int, free: int, form: Form | None) -> None:
    assert choose_form(database=size, cluster=cluster, free=free) is form


def test_synapses_numbers_are_read_without_running_it(tmp_path: Path) -> None:
    file = tmp_path / "__init__.py"
    file.write_text('import sys\nsys.exit()\nSCHEMA_VERSION = 94  # x\n"""doc"""\n\n'
                    "SCHEMA_COMPAT_VERSION = (\n    # why\n    84\n)\n")  # fmt: skip
    assert code_schema(file) == Schema(version=94, compatible=84)
    for text in ("SCHEMA_VERSION = 94\n", "SCHEMA_VERSION = (\n", "\0"):
        file.write_text(text)
        with pytest.raises(StateError):
            code_schema(file)
    with pytest.raises(StateError):
        code_schema(tmp_path / "missing")


def test_answers_of_the_database() -> None:
    assert parse_schema("") is None
    assert parse_schema("94|84|") == Schema(version=94, compatible=84)
    assert parse_schema("0|0|a b: c,d") == Schema(migrations=("a b: c", "d"))
    assert parse_schema("0|0|") == Schema()


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.data.mkdir()
    record.ensure_place(made)
    return made


def put(paths: Paths, snapshot: Snapshot) -> Path:
    place = record.directory(paths, snapshot)
    place.mkdir()
    (place / "database.dump").write_bytes(b"x" * 100)
    record.save_snapshot(place, snapshot)
    return place


def test_what_a_newer_program_adds_to_the_files_is_passed_over(paths: Paths) -> None:
    place = put(paths, BEFORE)
    for file in (place / record.META, paths.snapshots / record.TOUCHED):
        record.save_touched(paths, NEW)
        table = json.loads(file.read_text())
        table["moon"] = {"phase": "full"}
        if "schema" in table:
            table["schema"]["moon"] = 1
        file.write_text(json.dumps(table))
    assert record.load_snapshots(paths) == (BEFORE,)
    assert record.load_touched(paths) == NEW


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"name": 3}', '{"schema": 3}', "null"])
def test_a_damaged_file_is_none(paths: Paths, damage: str) -> None:
    place = put(paths, BEFORE)
    (place / record.META).write_text(damage)
    (paths.snapshots / record.TOUCHED).write_text(damage)
    assert record.load_snapshots(paths) == ()
    assert record.load_touched(paths) == ""


def test_left_overs_of_a_power_cut_are_swept_and_nothing_else(paths: Paths) -> None:
    place = put(paths, BEFORE)
    for name in (".new-x", ".discarded-y"):
        (paths.snapshots / name / "deep").mkdir(parents=True)
    assert record.load_snapshots(paths) == (BEFORE,)
    record.sweep(paths)
    assert sorted(one.name for one in paths.snapshots.iterdir()) == [place.name]


@pytest.fixture
def running(tmp_path: Path) -> Paths:
    """An appliance that is set up, with the newer Synapse in the slot that runs."""
    made = make_appliance(tmp_path / "appliance")
    site = made.root / SITE.relative_to("/")
    schema = site / "synapse/storage/schema/__init__.py"
    schema.parent.mkdir(parents=True)
    schema.write_text("SCHEMA_VERSION = 96\nSCHEMA_COMPAT_VERSION = 94\n")
    (site / "matrix_synapse-1.170.0.dist-info").mkdir()
    record.ensure_place(made)
    return made


def test_a_snapshot_goes_a_day_of_running_after_the_commit(running: Paths) -> None:
    paths = running
    put(paths, BEFORE)
    record.save_touched(paths, NEW)
    note_commit(paths)
    [found] = record.load_snapshots(paths)
    assert (found.committed, found.hours) == (True, 24)
    for hour in range(24):
        assert record.load_snapshots(paths), hour
        age(paths)
    assert [one.name for one in paths.snapshots.iterdir()] == [record.TOUCHED]
    age(paths)


@pytest.mark.parametrize("cut", ["before it was begun", "half-way", "unreadable settings"])
def test_a_way_back_that_is_not_over_keeps_its_snapshot(running: Paths, cut: str) -> None:
    """The slots are back already: PostgreSQL did not start, or the restore broke off."""
    snapshot = replace(BEFORE, identity=NEW, successor="synapse 1.180.0 schema 99")
    put(running, snapshot)
    if cut == "before it was begun":
        record.save_touched(running, snapshot.successor)
    else:
        record.save_touched(running, NEW)
    if cut == "half-way":
        record.save_restoring(running, snapshot.name)
    if cut == "unreadable settings":
        running.settings.write_text("nonsense")
    for _ in range(30):
        age(running)
    assert record.load_snapshots(running) == (snapshot,), "neither older nor committed"


def test_an_hour_of_running_is_no_commit(running: Paths) -> None:
    """Only a verdict is: until then the old version may go back to its snapshot by itself."""
    put(running, BEFORE)
    record.save_touched(running, NEW)
    age(running)
    assert record.load_snapshots(running) == (replace(BEFORE, hours=23),)
