"""A factory reset as the start-up program carries it out, cut at every one of its writes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.channelindex import CRL_NAME
from appliance.errors import ConfigError, StateError
from appliance.paths import Paths
from appliance.persistence import PERSISTED
from appliance.settings import load_settings
from appliance.update import Stage, UpdateState
from firstboot import reset_card
from firstboot.reset_card import main, perform
from firstboot.skeleton import make_skeleton
from services.reset import (
    KEEP_HOURS,
    Act,
    Done,
    Order,
    Step,
    age,
    has_kept,
    load_done,
    load_order,
    order_bring_back,
    order_reset,
    save_order,
)
from services.update import kept
from services.update.state import load_update, save_update
from unit.services.appliance_files import SERVER_NAME, make_appliance

NOW = 1_795_000_000.0


def make(root: Path) -> Paths:
    """A data partition in use: the directories of a first boot with somebody's things in them."""
    made = make_appliance(root / "made")
    shutil.rmtree(made.certificates)
    make_skeleton(root / "data")
    shutil.copytree(made.hearth, root / "data" / "hearth", dirs_exist_ok=True)
    paths = Paths(root)
    for name in ("postgresql/17/main/PG_VERSION", "homeserver/synapse/media/cat.jpg"):
        (paths.data / name).parent.mkdir(parents=True)
        (paths.data / name).write_text(f"precious {name}")
    (paths.data / "lost+found").mkdir()
    kept.keep(paths)
    save_update(paths, UpdateState(stage=Stage.INSTALLED, version="0.2"))
    shutil.rmtree(root / "made")
    return paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return make(tmp_path)


@pytest.fixture(autouse=True)
def only_this_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug of the machine that runs the tests: no need to wait for its disks."""
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def contents(place: Path) -> dict[str, str]:
    """Every file and directory below, but for what the reset itself keeps on record."""
    own = ("reset.json", "reset-done.json", ".discarded-", "before-reset", "lost+found")
    return {
        str(one.relative_to(place)): hashlib.sha256(one.read_bytes()).hexdigest()
        if one.is_file()
        else oct(one.stat().st_mode)
        for one in sorted(place.rglob("*"))
        if not str(one.relative_to(place)).startswith(own)
    }


def of_the_owner(found: dict[str, str]) -> dict[str, str]:
    """Without what the updater and RAUC know of the card's slots."""
    cards = ("hearth/update", "system/rauc")
    return {name: value for name, value in found.items() if not name.startswith(cards)}


def is_fresh(paths: Paths) -> bool:
    names = {entry.path.partition("/")[0] for entry in PERSISTED}
    there = {one.name for one in paths.data.iterdir()} - {"lost+found"}
    there = {name for name in there if not name.startswith(".discarded-")}
    is_empty = not any(one.is_file() for one in (paths.data / "homeserver").rglob("*"))
    return (
        there - {"before-reset", "reset-done.json"} == names
        and is_empty
        and not paths.settings.exists()
        and not paths.secrets.exists()
        and (paths.system / "machine-id").stat().st_size == 33
    )


def reset(paths: Paths, *, keep: bool = False, request: str = "") -> None:
    order_reset(paths, keep=keep, origin="page", now=NOW, request=request)


@pytest.mark.parametrize("keep", [False, True])
def test_a_reset_leaves_what_a_first_boot_makes(paths: Paths, keep: bool) -> None:
    before = contents(paths.data)
    old_id = (paths.system / "machine-id").read_text()
    reset(paths, keep=keep)
    assert contents(paths.data) == before, "an order alone changes nothing"
    assert main(["--root", str(paths.root)]) == 0
    assert is_fresh(paths)
    assert load_order(paths) is None
    assert (paths.system / "machine-id").read_text() != old_id
    assert has_kept(paths) is keep
    done = load_done(paths)
    assert done is not None
    assert done.at == NOW
    if keep:
        assert (done.hours, done.server_name, done.owner_name) == (24, SERVER_NAME, "anna")
        assert contents(paths.before_reset) == before
        assert paths.before_reset.stat().st_mode & 0o777 == 0o700


def test_what_is_the_cards_stays_and_the_owners_secrets_go(paths: Paths) -> None:
    reset(paths)
    perform(paths)
    assert load_update(paths) == UpdateState(stage=Stage.INSTALLED, version="0.2")
    assert not kept.directory(paths).exists()
    age(paths)
    secret = b"macaroon-macaroon"
    left = [one for one in paths.data.rglob("*") if one.is_file() and secret in one.read_bytes()]
    assert left == []


def test_a_bundle_from_a_stick_is_not_carried_over(paths: Paths) -> None:
    for name in ("bundle.raucb", "bundle.raucb.new", CRL_NAME, "stable-index.cms", "history.json"):
        (paths.update / name).write_text(name)
    reset(paths)
    perform(paths)
    left = {one.name for one in paths.update.iterdir()}
    assert left == {"state.json", "history.json", CRL_NAME, "stable-index.cms"}


def test_a_file_that_was_obeyed_stays_so_after_a_reset_from_a_page(paths: Paths) -> None:
    reset(paths, request="file-1")
    perform(paths)
    reset(paths)
    perform(paths)
    done = load_done(paths)
    assert done is not None
    assert done.request == "file-1"


def test_without_an_order_nothing_happens(paths: Paths) -> None:
    before = contents(paths.data)
    assert main(["--root", str(paths.root)]) == 0
    assert contents(paths.data) == before


def test_bringing_back_is_as_if_nothing_had_been(paths: Paths) -> None:
    before = contents(paths.data)
    reset(paths, keep=True, request="file-1")
    perform(paths)
    (paths.hearth / "settings.toml").write_text("somebody began anew")
    order_bring_back(paths, origin="page", now=NOW + 3600)
    perform(paths)
    assert of_the_owner(contents(paths.data)) == of_the_owner(before)
    assert load_settings(paths.settings) is not None
    assert not has_kept(paths)
    done = load_done(paths)
    assert done is not None
    assert (done.kept, done.request) == (False, "file-1"), "the file on the card stays obeyed"
    age(paths)
    assert not list(paths.data.glob(".discarded-*"))
    with pytest.raises(StateError, match="not there any more"):
        order_bring_back(paths, origin="page", now=NOW)


def note_slots(paths: Paths, version: str) -> None:
    """As an update does: its state, the list of revoked keys, and RAUC's own records."""
    save_update(paths, UpdateState(version=version))
    (paths.update / "revoked.crl").write_text(version)
    (paths.system / f"rauc/{version}").write_text(version)


def check_slots(paths: Paths, version: str) -> None:
    assert load_update(paths).version == version
    assert (paths.update / "revoked.crl").read_text() == version
    assert [one.name for one in (paths.system / "rauc").iterdir()] == [version]


def test_what_is_brought_back_knows_the_slots_as_they_are_now(paths: Paths) -> None:
    note_slots(paths, "0.2")
    reset(paths, keep=True)
    perform(paths)
    note_slots(paths, "0.3")
    order_bring_back(paths, origin="page", now=NOW)
    perform(paths)
    check_slots(paths, "0.3")
    assert load_settings(paths.settings) is not None


def test_nothing_is_brought_back_during_a_trial(paths: Paths) -> None:
    reset(paths, keep=True)
    perform(paths)
    save_update(paths, UpdateState(stage=Stage.TRIAL, version="0.3"))
    with pytest.raises(StateError, match="on trial"):
        order_bring_back(paths, origin="page", now=NOW)
    assert load_order(paths) is None


def test_a_second_reset_keeps_what_was_there_last(paths: Paths) -> None:
    reset(paths, keep=True)
    perform(paths)
    (paths.hearth / "note").write_text("second life")
    reset(paths, keep=True)
    perform(paths)
    assert (paths.before_reset / "hearth" / "note").read_text() == "second life"
    assert is_fresh(paths)


def test_what_was_kept_goes_after_a_day_of_running(paths: Paths) -> None:
    reset(paths, keep=True)
    perform(paths)
    for hour in range(KEEP_HOURS):
        assert has_kept(paths), hour
        age(paths)
    assert not has_kept(paths)
    assert not list(paths.data.glob(".discarded-*"))
    assert load_done(paths) == Done(
        at=NOW, kept=False, hours=0, server_name=SERVER_NAME, owner_name="anna"
    )
    assert is_fresh(paths)


def test_no_reset_during_a_trial_but_by_hand(paths: Paths) -> None:
    save_update(paths, UpdateState(stage=Stage.TRIAL, version="0.2"))
    with pytest.raises(StateError, match="on trial"):
        reset(paths)
    assert load_order(paths) is None
    order_reset(paths, keep=False, origin="card", now=NOW, force=True)
    perform(paths)
    assert load_update(paths).stage is Stage.TRIAL, "the slots' trial goes on"


class CutError(Exception):
    """The power went."""


@contextmanager
def cut_after(writes: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Fail at the write number ``writes``, before it is done; the list counts them."""
    count = [0]

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def act(*arguments: object, **options: object) -> object:
            count[0] += 1
            if count[0] > writes:
                raise CutError
            return real(*arguments, **options)

        return act

    with monkeypatch.context() as patch:
        for owner, name in ((os, "replace"), (os, "rename"), (os, "mkdir"), (os, "unlink"),
                            (os, "rmdir")):  # fmt: skip
            patch.setattr(owner, name, counted(getattr(os, name)))
        yield count


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("act", [Act.RESET, Act.BRING_BACK])
def test_every_power_cut_ends_in_one_state_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool, act: Act
) -> None:
    """Before the cut it was ordered; the start after it always finishes what was ordered."""
    if act is Act.BRING_BACK and not keep:
        return  # there is nothing to bring back
    cut = 0
    while True:
        paths = make(tmp_path / str(cut))
        before = contents(paths.data)
        reset(paths, keep=keep)
        if act is Act.BRING_BACK:
            perform(paths)
            note_slots(paths, "0.3")
            order_bring_back(paths, origin="page", now=NOW)
        try:
            with cut_after(cut, monkeypatch) as count:
                perform(paths)
            break
        except CutError:
            pass
        if cut % 3 == 0:  # and once more on the way
            try:
                with cut_after(cut // 2, monkeypatch):
                    perform(paths)
            except CutError:
                pass
        perform(paths)
        assert load_order(paths) is None
        if act is Act.RESET:
            assert is_fresh(paths), cut
            assert has_kept(paths) is keep
            if keep:
                assert contents(paths.before_reset) == before
        else:
            assert of_the_owner(contents(paths.data)) == of_the_owner(before), cut
            check_slots(paths, "0.3")
        shutil.rmtree(tmp_path / str(cut))
        cut += 1
    assert cut == count[0] > 15


def test_a_reset_that_cannot_begin_changes_nothing(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(paths.data)
    reset(paths)

    def full(_root: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reset_card, "make_skeleton", full)
    assert main(["--root", str(paths.root)]) == 3
    assert contents(paths.data) == before
    assert load_order(paths) is None


def test_one_that_has_begun_is_never_given_up(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset(paths)
    rename = os.rename

    def worn(source: Path, target: Path, **options: object) -> None:
        if Path(target).name == "postgresql":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", worn)
    assert main(["--root", str(paths.root)]) == 1
    order = load_order(paths)
    assert order is not None
    assert order.step is Step.AWAY
    monkeypatch.setattr(os, "rename", rename)
    assert main(["--root", str(paths.root)]) == 0
    assert is_fresh(paths)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"act": "dance"}', "\0"])
def test_a_damaged_order_is_not_guessed_at(paths: Paths, text: str) -> None:
    paths.reset.write_text(text)
    with pytest.raises(ConfigError):
        perform(paths)
    assert main(["--root", str(paths.root)]) == 1


def test_what_a_newer_version_ordered_is_understood(paths: Paths) -> None:
    save_order(paths, Order(act=Act.RESET))
    table = json.loads(paths.reset.read_text())
    paths.reset.write_text(json.dumps({**table, "moon": "full"}))
    assert perform(paths)
    assert is_fresh(paths)
