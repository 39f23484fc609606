"""The database across an update: real PostgreSQL, a Synapse that really migrates, a Dendrite.

The "new version" is the same program with a newer schema: Synapse applies a delta of ours by its
own code, and refuses by its own code what it cannot read. /data outlives the slots, as on a card.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from world.appliance import answer_wizard, boot, client, wait_for_setup
from world.sandbox import Sandbox
from world.stack import MESSAGE, READ, fill
from world.tree import ensure_tree

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]

SCHEMA = "usr/lib/hearth/synapse/synapse/storage/schema"
DENDRITE = "usr/lib/hearth/dendrite"
NEXT = 95
SAY = """
bob = login("bob", "other horse battery")
sync = ask("/_matrix/client/v3/sync", token=bob)
[room] = sync["rooms"]["join"]
from services.http import LocalTlsConnection
connection = LocalTlsConnection(%r, AUTHORITY, 60, 443)
connection.request("PUT", f"/_matrix/client/v3/rooms/{room}/send/m.room.message/%s",
                   json.dumps({"msgtype": "m.text", "body": "%s"}),
                   {"Authorization": "Bearer " + bob})
assert connection.getresponse().status == 200
key = {"key": "zKbLg+NrIjpnagy+pIY6uPL4ZwEG2v+8F9lmgsnlZzs",
       "signatures": {"@bob:home.example.org": {"ed25519:BOB": "c2lnbmVk"}}}
upload = {"one_time_keys": {"signed_curve25519:AAAA%s": key}}
print(json.dumps(ask("/_matrix/client/v3/keys/upload", upload, bob)))
"""
KEYS = {
    "synapse": "SELECT count(*) FROM e2e_one_time_keys_json",
    "dendrite": "SELECT count(*) FROM keyserver_one_time_keys",
}


class Slot(Sandbox):
    """An appliance whose homeserver may be another version; ``binds`` are what differs."""

    def __init__(self, state: Path, binds: tuple[str, ...] = ()) -> None:
        super().__init__(ensure_tree(), state)
        self.extra = binds

    def _binds(self) -> list[str]:
        return [*super()._binds(), *self.extra]


def newer_synapse(place: Path, *, compatible: int) -> tuple[str, ...]:
    """Its schema directory with one delta more; ``compatible`` is what it writes down."""
    copy = place / f"schema-{compatible}"
    shutil.copytree(ensure_tree() / SCHEMA, copy)
    file = copy / "__init__.py"
    text = file.read_text().replace("SCHEMA_VERSION = 94", f"SCHEMA_VERSION = {NEXT}")
    file.write_text(text.replace("    84\n", f"    {compatible}\n"))
    delta = copy / "main" / "delta" / str(NEXT)
    delta.mkdir()
    (delta / "01_hearth.sql").write_text("CREATE TABLE hearth_was_here (moon TEXT);\n")
    return ("--ro-bind", str(copy), f"/{SCHEMA}")


def newer_dendrite(place: Path) -> tuple[str, ...]:
    """Says another version, and is otherwise itself."""
    copy = place / "dendrite"
    shutil.copytree(ensure_tree() / DENDRITE, copy)
    (copy / "dendrite").rename(copy / "real")
    script = copy / "dendrite"
    lines = ("#!/bin/sh", '[ "$1" = -version ] && exec echo 0.99.0', f'exec /{DENDRITE}/real "$@"')
    script.write_text("\n".join(lines) + "\n")
    script.chmod(0o755)
    return ("--ro-bind", str(copy), f"/{DENDRITE}")


class Home:
    """One data partition, started from the old slot or a new one; ``act`` is what was done."""

    def __init__(self, software: str, place: Path) -> None:
        self.software = software
        self.state = place / "state"
        self.state.mkdir()
        self.sandbox = Slot(self.state)
        self.sandbox.__enter__()
        answer_wizard(self.sandbox, software)
        boot(self.sandbox)
        assert wait_for_setup(self.sandbox)["phase"] == "ready"
        client(self.sandbox, fill(MESSAGE, software))

    def switch_off(self) -> None:
        self.sandbox.__exit__(None, None, None)

    def start(self, binds: tuple[str, ...] = (), *, before: str = "") -> None:
        """``before`` is Python that takes the place of the database's unit, which is then done."""
        self.switch_off()
        self.sandbox = Slot(self.state, binds)
        self.sandbox.__enter__()
        if before:
            self.sandbox.run(["systemctl", "start", "hearth-apply", "hearth-postgresql"])
            self.sandbox.python(before)
        boot(self.sandbox)

    def wait(self) -> None:
        wait_until(self.answers, seconds=120, what="the homeserver's answer")

    def answers(self) -> bool:
        output = self.sandbox.hearthctl("doctor", "client", "--json", check=False).stdout
        return bool(json.loads(output)["findings"][0]["verdict"] == "ok")

    def bodies(self) -> list[str]:
        self.wait()
        return [body for body in client(self.sandbox, READ) if body]

    def say(self, body: str) -> None:
        self.wait()
        word = body.replace(" ", "")
        client(self.sandbox, SAY % ("home.example.org", word, body, word))

    def sql(self, query: str) -> str:
        code = "from appliance.paths import Paths; from services.database import query;"
        return self.sandbox.python(
            f"{code} print(query(Paths(), {query!r}, database={self.software!r}))"
        ).strip()

    @property
    def result(self) -> dict[str, object]:
        file = self.sandbox.data / "hearth" / "results" / "database.json"
        found: dict[str, object] = json.loads(file.read_text())
        return found

    @property
    def snapshots(self) -> list[str]:
        place = self.sandbox.data / "snapshots"
        return sorted(one.name for one in place.iterdir() if one.is_dir())


# Synapse, which takes its time, shows what only it can show; the rest of it with --long.
BOTH = pytest.mark.parametrize("home", ["dendrite", "synapse"], indirect=True, scope="module")
LONG = pytest.param("synapse", marks=pytest.mark.long)
MOSTLY_DENDRITE = pytest.mark.parametrize("home", ["dendrite", LONG], indirect=True, scope="module")
FORMS = pytest.mark.parametrize(
    ("home", "form"),
    [
        ("dendrite", "copy"),
        ("synapse", "dump"),
        pytest.param("dendrite", "dump", marks=pytest.mark.long),
        pytest.param("synapse", "copy", marks=pytest.mark.long),
    ],
    indirect=["home"],
    scope="module",
)


@pytest.fixture(scope="module")
def home(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    made = Home(request.param, tmp_path_factory.mktemp(request.param))
    try:
        yield made
    finally:
        made.switch_off()


@pytest.fixture
def trial(home: Home, tmp_path: Path) -> Callable[[], tuple[str, ...]]:
    """A version whose database the old one cannot read."""
    if home.software == "synapse":
        return lambda: newer_synapse(tmp_path, compatible=NEXT)
    return lambda: newer_dendrite(tmp_path)


def migrate(home: Home) -> None:
    """Dendrite's own newer version would note it; Synapse's has, by itself."""
    if home.software == "dendrite":
        home.sql("INSERT INTO db_migrations VALUES ('hearth: moon', now(), '0.99.0')")
    assert is_migrated(home)


def is_migrated(home: Home) -> bool:
    if home.software == "dendrite":
        return home.sql("SELECT count(*) FROM db_migrations WHERE version ~ 'moon'") == "1"
    version = home.sql("SELECT compat_version FROM schema_compat_version")
    return (version, home.sql("SELECT to_regclass('hearth_was_here')")) == (
        str(NEXT),
        "hearth_was_here",
    )


COPY = """
from services.snapshots import policy
policy.SMALL = 0
from firstboot.cli import run_verb
run_verb(["database-prepare"])
"""


@MOSTLY_DENDRITE
def test_a_first_setup_only_notes_who_uses_the_database(home: Home) -> None:
    assert home.result["act"] == "recorded"
    assert home.snapshots == []
    marks = home.sandbox.data / "snapshots" / "touched.json"
    before = marks.stat().st_mtime_ns
    home.start()
    assert home.bodies()[-1] == "supper is ready"
    assert marks.stat().st_mtime_ns == before
    assert "hearth-database.service.log" not in home.sandbox.run(["ls", "/run/units"]).stdout


@FORMS
def test_what_the_old_version_cannot_read_is_gone_back_from(
    home: Home, trial: Callable[[], tuple[str, ...]], form: str
) -> None:
    home.start()
    home.say(f"before {form}")
    before = home.bodies()
    assert home.sql(KEYS[home.software]) != "0"
    binds = trial()
    home.start(binds, before=COPY if form == "copy" else "")
    home.say(f"during {form}")
    [name] = home.snapshots
    meta = json.loads((home.sandbox.data / "snapshots" / name / "snapshot.json").read_text())
    assert meta["form"] == form
    migrate(home)
    home.start(binds)  # a good restart during the trial
    assert f"during {form}" in home.bodies()
    assert home.snapshots == [name]
    home.start()
    assert home.bodies() == before
    assert home.result["act"] == "restored"
    assert home.sql(KEYS[home.software]) == "0", "no key may be handed out twice"
    assert home.snapshots == []
    home.say(f"after {form}")
    assert home.bodies()[-1] == f"after {form}"


@BOTH
def test_what_the_old_version_can_read_is_kept_with_the_messages_of_the_trial(
    home: Home, tmp_path: Path
) -> None:
    home.start()
    home.say("before keep")
    is_synapse = home.software == "synapse"
    binds = newer_synapse(tmp_path, compatible=84) if is_synapse else newer_dendrite(tmp_path)
    home.start(binds)
    home.say("during keep")
    if is_synapse:
        assert home.sql("SELECT version FROM schema_version") == str(NEXT)
    home.start()
    assert home.bodies()[-2:] == ["before keep", "during keep"]
    assert home.result["act"] == "kept"
    assert home.snapshots == []


@MOSTLY_DENDRITE
def test_a_lost_record_costs_no_way_back(home: Home, trial: Callable[[], tuple[str, ...]]) -> None:
    home.start()
    before = home.bodies()
    (home.sandbox.data / "snapshots" / "touched.json").unlink()
    home.start(trial())
    home.say("during lost")
    migrate(home)
    home.start()
    assert home.bodies() == before
    assert home.result["act"] == "restored"


@MOSTLY_DENDRITE
def test_without_a_way_back_the_new_version_does_not_start(
    home: Home, trial: Callable[[], tuple[str, ...]]
) -> None:
    home.start()
    before = home.bodies()
    full = """
from services.snapshots import making
making.free_space = lambda place: 100 * 1024 * 1024
from firstboot.cli import run_verb
from appliance.errors import DiskFullError
try:
    run_verb(["database-prepare"])
except DiskFullError as error:
    print(error.message)
else:
    raise SystemExit("there was room")
"""
    home.switch_off()
    home.sandbox = Slot(home.state, trial())
    home.sandbox.__enter__()
    home.sandbox.run(["systemctl", "start", "nginx", "hearth-apply", "hearth-postgresql"])
    assert "no room for a snapshot" in home.sandbox.python(full)
    assert home.snapshots == []
    assert "no room" in str(home.result["error"])
    assert not home.sandbox.run(["sh", "-c", "ls -A /data/snapshots | grep new"],
                                check=False).stdout  # fmt: skip
    home.start()
    assert home.bodies() == before


@MOSTLY_DENDRITE
def test_a_snapshot_that_the_card_has_damaged_is_not_gone_back_to(
    home: Home, trial: Callable[[], tuple[str, ...]]
) -> None:
    home.start()
    before = home.bodies()
    binds = trial()
    home.start(binds)
    home.say("during damage")
    migrate(home)
    [name] = home.snapshots
    archive = home.sandbox.data / "snapshots" / name / "database.dump"
    good = archive.read_bytes()
    archive.write_bytes(good[:-2000] + b"\0" * 1000 + good[-1000:])
    home.start()
    assert not home.answers()
    assert "the card has lost" in str(home.result["error"])
    assert "was not started: the snapshot" in home.sandbox.hearthctl("doctor", check=False).stdout
    homeserver = home.sandbox.run(["systemctl", "start", f"hearth-{home.software}"], check=False)
    assert homeserver.returncode != 0
    assert is_migrated(home), "the database is as it was"
    archive.write_bytes(good)
    home.start()
    assert home.bodies() == before


CUT = """
import os, sys
from pathlib import Path
from services import database
from services.snapshots import policy, record
policy.SMALL = %(small)s
count = [0]
def counted(real):
    def act(*arguments, **options):
        count[0] += 1
        if count[0] == %(cut)s:
            os._exit(9)
        return real(*arguments, **options)
    return act
Path.rename = counted(Path.rename)
os.replace = counted(os.replace)
database.query = counted(database.query)
from firstboot.cli import run_verb
run_verb(["database-prepare"])
print(count[0])
"""


@pytest.mark.parametrize("form", ["dump", "copy"])
def test_cuts_anywhere_on_the_way_there_and_back(
    tmp_path: Path, form: str, request: pytest.FixtureRequest
) -> None:
    """Cut before the n-th rename or query, everything else with it; then go on. --long: each."""
    stride = 1 if request.config.getoption("--long") else 6
    home = Home("dendrite", tmp_path)
    try:
        home.say("before")
        before = home.bodies()
        binds = newer_dendrite(tmp_path)
        small = 0 if form == "copy" else "policy.SMALL"
        for slot, settled in ((binds, "snapshot"), ((), "restored")):
            cut = 1
            while not _is_through(home, slot, small=small, cut=cut):
                cut += stride
            assert cut > 9, "nothing was cut"
            # The last run may have found nothing left to do but to say so.
            assert home.result["act"] in (settled, "nothing")
            assert not home.result.get("running")
            if slot:
                home.start(binds)
                migrate(home)
        home.start()
        assert home.bodies() == before
        assert home.sql(KEYS["dendrite"]) == "0"
        assert home.snapshots == []
    finally:
        home.switch_off()


def _is_through(home: Home, binds: tuple[str, ...], *, small: object, cut: int) -> bool:
    """Whether the work came to its end before the cut."""
    home.switch_off()
    home.sandbox = Slot(home.state, binds)
    home.sandbox.__enter__()
    home.sandbox.run(["systemctl", "start", "hearth-apply"])
    # Between the two renames of a copy there is no cluster to start.
    home.sandbox.run(["systemctl", "start", "hearth-postgresql"], check=False)
    result = home.sandbox.run(
        ["python3", "-c", CUT % {"small": small, "cut": cut}], check=False, seconds=120
    )
    assert result.returncode in (0, 9), result.stderr
    return result.returncode == 0
