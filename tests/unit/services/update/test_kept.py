"""Owner's files across a trial: kept, put back only where the old version cannot read them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from appliance import atomic
from appliance.errors import StateError
from appliance.paths import Paths
from appliance.settings import load_secrets, load_settings
from appliance.state import Phase, State, load_state, save_state
from services.update import kept
from unit.services.appliance_files import make_appliance

NEWER = '\n[updates]\nmoon_phase = "full"\n'  # a key that only the new version knows


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = make_appliance(tmp_path)
    save_state(State(phase=Phase.READY), made.state)
    return made


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_what_the_new_version_wrote_and_the_old_one_cannot_read_is_put_back(paths: Paths) -> None:
    before = paths.settings.read_bytes()
    kept.keep(paths)
    append(paths.settings, NEWER)
    assert kept.put_back(paths) == ("settings.toml",)
    assert paths.settings.read_bytes() == before
    assert NEWER in paths.settings.with_name("settings.toml.unreadable").read_text()
    assert load_settings(paths.settings) is not None


def test_what_can_be_read_keeps_what_the_owner_changed_during_the_trial(paths: Paths) -> None:
    kept.keep(paths)
    paths.settings.write_text(paths.settings.read_text().replace("Berlin", "Vienna"))
    assert kept.put_back(paths) == ()
    settings = load_settings(paths.settings)
    assert settings is not None
    assert settings.device.timezone == "Europe/Vienna"


@pytest.mark.parametrize("name", ["settings.toml", "secrets.toml", "state.json"])
@pytest.mark.parametrize("damage", ["empty", "binary", "gone"])
def test_each_file_comes_back_with_its_mode(paths: Paths, name: str, damage: str) -> None:
    file = paths.hearth / name
    before, mode = file.read_bytes(), file.stat().st_mode
    kept.keep(paths)
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "empty" else b"\xff\x00=[")
    # Empty secrets are what an appliance begins with: readable, so not ours to replace.
    wanted = () if (name, damage) == ("secrets.toml", "empty") else (name,)
    assert kept.put_back(paths) == wanted
    if wanted:
        assert file.read_bytes() == before
        assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(mode)


def test_copies_are_for_root_alone_and_go_with_the_trial(paths: Paths) -> None:
    kept.keep(paths)
    place = kept.directory(paths)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "secrets.toml").stat().st_mode) == 0o600
    kept.drop(paths)
    assert not place.exists()
    kept.drop(paths)
    append(paths.settings, NEWER)
    assert kept.put_back(paths) == ()


def test_a_second_trial_does_not_bring_back_files_of_the_first(paths: Paths) -> None:
    kept.keep(paths)
    paths.state.unlink()
    kept.keep(paths)
    assert kept.put_back(paths) == ()
    assert not paths.state.exists()


def test_a_file_that_is_damaged_already_is_no_way_back(paths: Paths) -> None:
    append(paths.settings, NEWER)
    with pytest.raises(StateError, match="nothing to go back to"):
        kept.keep(paths)


class CutError(Exception):
    """The power went."""


def test_every_power_cut_while_putting_back_ends_well(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut comes before the n-th rename, for each n; the next start goes on."""
    before = {name: (paths.hearth / name).read_bytes() for name in kept.READERS}
    kept.keep(paths)
    rename, renames = atomic.os.replace, [0]
    for cut in range(12):
        for name in ("settings.toml", "state.json"):
            append(paths.hearth / name, "{[damaged")
        renames[0] = 0

        def replace(source: str, target: Path, *, at: int = cut) -> None:
            renames[0] += 1
            if renames[0] > at:
                raise CutError
            rename(source, target)

        monkeypatch.setattr(atomic.os, "replace", replace)
        try:
            kept.put_back(paths)
        except CutError:
            monkeypatch.setattr(atomic.os, "replace", rename)
            kept.put_back(paths)
        assert {name: (paths.hearth / name).read_bytes() for name in before} == before
        assert load_state(paths.state).phase is Phase.READY
        assert load_secrets(paths.secrets).form_secret
