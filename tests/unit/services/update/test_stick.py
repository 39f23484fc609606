"""Sticks and files: copies of real files, bundles that RAUC is played to know."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ImageError, StateError
from appliance.update import Stage, UpdateState
from services.update import stick
from services.update.lock import update_lock
from services.update.rauc import Rauc
from services.update.state import load_update, save_update
from services.update.stick import (
    KEPT_HOURS,
    MAX_BYTES,
    TOLD_HOURS,
    age,
    copy_of,
    find_bundles,
    find_stick_offer,
    import_file,
    look_at_stick,
    take,
    take_from,
    tidy,
)
from unit.services.update.bench import FACTS, Bench, make_bench

NOW = 5000.0


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = make_bench(tmp_path, monkeypatch)
    made.bundle(new(made))
    (tmp_path / "stick").mkdir()
    return made


def new(bench: Bench) -> str:
    return str(bench.paths.update / "bundle.raucb.new")


def a_file(tmp_path: Path, name: str = "hearth-1.1.raucb", content: bytes = b"bundle") -> Path:
    file = tmp_path / "stick" / name
    file.write_bytes(content)
    return file


def test_what_is_on_a_stick_is_offered_and_not_installed(bench: Bench, tmp_path: Path) -> None:
    file = a_file(tmp_path, content=os.urandom(9_000_000))
    found = take(bench.paths, find_bundles(tmp_path / "stick"), Rauc(), NOW)
    assert (found.version, found.size, found.name, found.trouble) == (
        "1.1", 9_000_000, "hearth-1.1.raucb", "",
    )  # fmt: skip
    assert find_stick_offer(bench.paths) == found
    assert copy_of(bench.paths).read_bytes() == file.read_bytes()
    assert bench.read("calls") == {}
    assert not Path(new(bench)).exists()


def test_only_bundles_at_the_top_and_no_more_than_three(tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    for name in ("a.raucb", "b.raucb", "c.raucb", "d.raucb", "x.img"):
        a_file(tmp_path, name)
    (tmp_path / "stick/z.raucb").mkdir()
    (tmp_path / "stick/y.raucb").symlink_to("/etc/shadow")
    found = find_bundles(tmp_path / "stick")
    assert [one.name for one in found] == ["d.raucb", "c.raucb", "b.raucb"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"error": "signature verification failed: Verify error: certificate revoked"}, "revoked"),
        ({"meta": {}}, "bundle"),
    ],
)
def test_what_is_not_ours_is_told_and_not_kept(
    said: dict[str, object], words: str, bench: Bench, tmp_path: Path
) -> None:
    bench.bundle(new(bench), **said)
    found = take(bench.paths, [a_file(tmp_path)], Rauc(), NOW)
    assert found.version == ""
    assert words in found.trouble
    assert found.hint
    assert find_stick_offer(bench.paths) is None
    assert list(bench.paths.update.iterdir()) == []


def test_an_older_version_is_told(bench: Bench, tmp_path: Path) -> None:
    bench.bundle(new(bench), replace(FACTS, version="0.9"))
    found = take(bench.paths, [a_file(tmp_path)], Rauc(), NOW)
    assert "not newer" in found.trouble


def test_an_empty_and_a_monstrous_file(bench: Bench, tmp_path: Path) -> None:
    empty = a_file(tmp_path, content=b"")
    monster = a_file(tmp_path, "monster.raucb")
    with monster.open("r+b") as file:
        file.truncate(MAX_BYTES + 1)
    for one in (empty, monster):
        assert "no bundle" in take(bench.paths, [one], Rauc(), NOW).trouble


def test_a_good_one_beside_a_bad_one(bench: Bench, tmp_path: Path) -> None:
    files = [a_file(tmp_path, "z.raucb", b""), a_file(tmp_path)]
    assert take(bench.paths, files, Rauc(), NOW).version == "1.1"


def test_a_stick_that_cannot_be_mounted_is_no_news(bench: Bench, tmp_path: Path) -> None:
    image = tmp_path / "sdz1"
    image.write_bytes(bytes(4096))
    assert look_at_stick(bench.paths, image, Rauc(), NOW) is None
    assert find_stick_offer(bench.paths) is None


def test_our_own_card_is_no_stick(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def mounted(*_: object) -> None:
        raise AssertionError("it was mounted")

    monkeypatch.setattr(stick, "mounted", mounted)
    card = bench.paths.root / "card"
    assert look_at_stick(bench.paths, card.with_name("card1"), Rauc(), NOW) is None


def test_a_copy_that_is_being_installed_is_not_replaced(bench: Bench, tmp_path: Path) -> None:
    state = UpdateState(stage=Stage.INSTALLING, version="1.1", source=str(copy_of(bench.paths)))
    save_update(bench.paths, state)
    found = take(bench.paths, [a_file(tmp_path)], Rauc(), NOW)
    assert "is being installed" in found.trouble


def grow_old(bench: Bench, hours: int) -> None:
    for _ in range(hours):
        age(bench.paths)
    tidy(bench.paths)


def test_what_nobody_installs_goes_after_a_week_of_running(bench: Bench, tmp_path: Path) -> None:
    take(bench.paths, [a_file(tmp_path)], Rauc(), NOW)
    grow_old(bench, KEPT_HOURS - 1)
    assert find_stick_offer(bench.paths) is not None
    state = UpdateState(stage=Stage.INSTALLING, source=str(copy_of(bench.paths)))
    save_update(bench.paths, state)
    grow_old(bench, 1)
    assert copy_of(bench.paths).exists()
    save_update(bench.paths, replace(state, stage=Stage.IDLE, source=""))
    grow_old(bench, 0)
    assert not copy_of(bench.paths).exists()
    assert find_stick_offer(bench.paths) is None


def test_a_failed_installation_does_not_keep_the_copy_for_ever(
    bench: Bench, tmp_path: Path
) -> None:
    take(bench.paths, [a_file(tmp_path)], Rauc(), NOW)
    failed = UpdateState(source=str(copy_of(bench.paths)), version="1.1", by_hand=True, error="x")
    save_update(bench.paths, failed)
    grow_old(bench, KEPT_HOURS - 1)
    assert copy_of(bench.paths).exists()
    grow_old(bench, 1)
    assert not copy_of(bench.paths).exists()
    assert load_update(bench.paths) == UpdateState(), "nothing is left to be tried again"


def test_another_bundle_ends_the_attempts_with_the_one_before(bench: Bench, tmp_path: Path) -> None:
    failed = UpdateState(source=str(copy_of(bench.paths)), version="1.0.5", by_hand=True, error="x")
    save_update(bench.paths, failed)
    take(bench.paths, [a_file(tmp_path)], Rauc(), NOW)
    assert load_update(bench.paths) == UpdateState()


def test_half_a_copy_goes_at_the_jobs_next_turn(bench: Bench, tmp_path: Path) -> None:
    take(bench.paths, [a_file(tmp_path)], Rauc(), NOW)
    Path(new(bench)).write_bytes(b"half")
    tidy(bench.paths)
    assert not Path(new(bench)).exists()
    assert find_stick_offer(bench.paths) is not None


def test_a_bad_stick_is_told_for_a_day_and_leaves_a_good_offer(
    bench: Bench, tmp_path: Path
) -> None:
    good = take(bench.paths, [a_file(tmp_path)], Rauc(), NOW)
    found = take(bench.paths, [a_file(tmp_path, "hearth-1.2.raucb", b"")], Rauc(), NOW)
    assert (found.version, found.name) == (good.version, good.name)
    assert "hearth-1.2.raucb" in found.trouble
    assert find_stick_offer(bench.paths) == found
    assert copy_of(bench.paths).read_bytes() == b"bundle"
    grow_old(bench, TOLD_HOURS)
    offer = find_stick_offer(bench.paths)
    assert offer is not None
    assert (offer.version, offer.trouble, offer.hint) == ("1.1", "", "")


def test_a_stick_while_another_update_is_under_way(bench: Bench, tmp_path: Path) -> None:
    a_file(tmp_path)
    with update_lock(bench.paths):
        found = take_from(bench.paths, tmp_path / "stick", Rauc(), NOW, patience=0.0)
    assert found is not None
    assert "under way" in found.trouble
    assert "again" in found.hint
    found = take_from(bench.paths, tmp_path / "stick", Rauc(), NOW, patience=0.0)
    assert found is not None
    assert (found.version, found.trouble) == ("1.1", "")


def test_a_stick_that_breaks_while_it_is_read_is_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(place: Path) -> tuple[Path, ...]:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(place))

    monkeypatch.setattr(stick, "find_bundles", broken)
    found = take_from(bench.paths, tmp_path / "stick", Rauc(), NOW)
    assert found is not None
    assert "Input/output error" in found.trouble


def test_a_stick_without_a_bundle_is_no_news(bench: Bench, tmp_path: Path) -> None:
    assert take_from(bench.paths, tmp_path / "stick", Rauc(), NOW) is None
    assert not bench.paths.results.exists()


def test_the_newest_by_number_and_not_by_letter(tmp_path: Path) -> None:
    (tmp_path / "stick").mkdir()
    for version in ("1.7", "1.8", "1.9", "1.10", "1.10 (1)", "0.2-rc1"):
        a_file(tmp_path, f"hearth-{version}.raucb")
    found = [one.name for one in find_bundles(tmp_path / "stick")]
    assert found == ["hearth-1.10.raucb", "hearth-1.10 (1).raucb", "hearth-1.9.raucb"]


def test_a_file_that_a_person_named(bench: Bench, tmp_path: Path) -> None:
    assert import_file(bench.paths, a_file(tmp_path), Rauc(), NOW).version == "1.1"
    with pytest.raises(StateError, match="not there"):
        import_file(bench.paths, tmp_path / "nothing", Rauc(), NOW)
    bench.bundle(new(bench), error="signature verification failed")
    with pytest.raises(ImageError, match=r"hearth-1\.1\.raucb: .*\(RAUC: signature"):
        import_file(bench.paths, a_file(tmp_path), Rauc(), NOW)
    offer = find_stick_offer(bench.paths)
    assert offer is not None
    assert (offer.version, offer.trouble) == ("1.1", ""), "it was told at the terminal"


def test_a_copy_that_was_cut_short_is_made_again(bench: Bench, tmp_path: Path) -> None:
    bench.paths.update.mkdir()
    Path(new(bench)).write_bytes(b"half")
    assert take(bench.paths, [a_file(tmp_path)], Rauc(), NOW).version == "1.1"
