"""Rendering and applying: what is written, what is touched, what is left alone."""

from __future__ import annotations

import fcntl
import json
import shutil
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import CommandError, ConfigError, HearthError, MissingToolError, StateError
from appliance.settings import Reach, Software, load_settings, save_toml
from services.authority import device_file
from services.configuration import apply_configuration, find_changes, is_applied
from services.pending import load_marks, save_marks, save_pending
from services.plan import load_plan, render_plan
from services.proxy import PROGRAM
from services.render import Action, Template, fingerprints, render_templates, yaml_scalar
from unit.services.appliance_files import (
    OVERLAY,
    SECRETS,
    SERVER_NAME,
    RecordedUnits,
    make_appliance,
)


def rendered(paths, name: str) -> str:
    return (paths.rendered / name).read_text()


@pytest.mark.parametrize("software", Software)
def test_boot_renders_only_what_the_settings_ask_for(tmp_path: Path, software: Software) -> None:
    paths = make_appliance(tmp_path, software=software)
    apply_configuration(paths, RecordedUnits(), boot=True)
    found = {path.name for path in paths.rendered.iterdir()}
    assert found == {"postgresql", software.value}, "no nginx part without a certificate"


def test_names_and_secrets_are_quoted(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    apply_configuration(paths, RecordedUnits(), boot=True)
    text = rendered(paths, "synapse/homeserver.yaml")
    assert f'server_name: "{SERVER_NAME}"' in text
    line = next(line for line in text.splitlines() if line.startswith("registration_shared"))
    assert json.loads(line.partition(": ")[2]) == SECRETS.registration_shared_secret
    assert stat.S_IMODE((paths.rendered / "synapse/homeserver.yaml").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("software", "file", "closed"),
    [
        (Software.SYNAPSE, "synapse/homeserver.yaml", "federation_domain_whitelist: []"),
        (Software.DENDRITE, "dendrite/dendrite.yaml", "disable_federation: true"),
    ],
)
def test_lan_only_closes_federation_and_public_opens_it(
    tmp_path: Path, software: Software, file: str, closed: str
) -> None:
    for reach, is_closed in ((Reach.LAN, True), (Reach.PUBLIC, False)):
        paths = make_appliance(tmp_path / reach, software=software, reach=reach)
        apply_configuration(paths, RecordedUnits(), boot=True)
        assert (closed in rendered(paths, file)) is is_closed


def test_only_units_whose_files_changed_are_touched(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    device_file(paths).write_text("a certificate")
    apply_configuration(paths, RecordedUnits(), boot=True)
    settings = load_settings(paths.settings)
    assert settings is not None
    server = replace(settings.server, name="other.example.org")
    save_toml(replace(settings, server=server), paths.settings, mode=0o640)
    units = RecordedUnits("nginx.service", "hearth-postgresql.service", "hearth-synapse.service")
    report = apply_configuration(paths, units, boot=True)
    assert units.acts == ["reload nginx.service", "restart hearth-synapse.service"]
    assert list(report.actions) == units.acts
    assert {change.target for change in report.changes} == {
        "nginx/https.conf",
        "synapse/homeserver.yaml",
    }


@pytest.mark.parametrize("how", ["fails", "is killed"])
def test_a_reload_that_did_not_happen_is_still_owed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Else nginx would serve the old configuration, and trying again would skip the step."""
    paths, units = make_appliance(tmp_path), RecordedUnits("nginx.service")
    device_file(paths).write_text("stand-in")
    error = CommandError("systemctl failed") if how == "fails" else KeyboardInterrupt()

    def die(unit: str) -> None:
        raise error

    monkeypatch.setattr(units, "reload", die)
    with pytest.raises(type(error)):
        apply_configuration(paths, units, boot=True)
    monkeypatch.undo()
    report = apply_configuration(paths, units, boot=True)
    assert report.changes == ()
    assert units.acts == ["reload nginx.service"]
    assert apply_configuration(paths, units, boot=True).actions == ()


def test_what_is_owed_is_not_applied_yet(tmp_path: Path) -> None:
    paths, units = make_appliance(tmp_path), RecordedUnits()
    report = apply_configuration(paths, units, boot=True)
    assert report.changes
    items = render_plan(paths, load_plan(paths), config=paths.rendered)
    save_marks(paths, fingerprints("unknown", items))
    assert is_applied(paths)
    save_pending(paths, [("nginx.service", Action.RELOAD)])
    assert not is_applied(paths)


def test_units_that_do_not_run_are_left_alone(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    units = RecordedUnits()
    report = apply_configuration(paths, units, boot=True)
    assert report.changes
    assert units.acts == []


def test_a_changed_mind_removes_the_other_homeservers_files(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path, software=Software.DENDRITE)
    apply_configuration(paths, RecordedUnits(), boot=True)
    foreign = paths.rendered / "console"
    foreign.mkdir()
    (foreign / "theirs.conf").touch()
    again = make_appliance(tmp_path / "synapse")
    shutil.copytree(again.homeserver, paths.homeserver, dirs_exist_ok=True)
    shutil.copy(again.settings, paths.settings)
    apply_configuration(paths, RecordedUnits(), boot=True)
    assert not (paths.rendered / "dendrite" / "dendrite.yaml").exists()
    assert (paths.rendered / "synapse" / "homeserver.yaml").exists()
    assert (foreign / "theirs.conf").exists(), "files that no template makes are not ours"


def test_without_the_signing_key_nothing_is_rendered(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path, with_key=False)
    with pytest.raises(StateError, match=r"signing\.key"):
        apply_configuration(paths, RecordedUnits(), boot=True)
    assert not paths.rendered.exists()


@pytest.mark.skipif(Path(PROGRAM).exists(), reason="this host has a real nginx")
def test_a_checker_that_cannot_run_changes_nothing(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    device_file(paths).write_text("a certificate")
    (tmp_path / "etc" / "nginx").mkdir()
    units = RecordedUnits("nginx.service")
    with pytest.raises(MissingToolError):
        apply_configuration(paths, units)
    assert not paths.rendered.exists()
    assert units.acts == []
    left = [file.name for file in paths.runtime.iterdir()]
    assert left == ["apply.lock"], "the scratch directory holds secrets"


@pytest.mark.skipif(Path(PROGRAM).exists(), reason="this host has a real nginx")
def test_only_a_program_whose_files_have_changed_checks_them(tmp_path: Path) -> None:
    """None of them is here, so whatever is checked fails by its name."""
    paths = make_appliance(tmp_path)
    device_file(paths).write_text("a certificate")
    (tmp_path / "etc" / "nginx").mkdir()
    items = render_plan(paths, load_plan(paths), config=paths.rendered)
    marks = fingerprints("unknown", items)
    assert {"nginx", "postgresql"} < marks.keys()
    save_marks(paths, marks)
    assert not apply_configuration(paths, RecordedUnits()).checked
    for place, program in (("nginx", "nginx"), ("postgresql", "postgres")):
        save_marks(paths, marks | {place: "of another rendering"})
        with pytest.raises(HearthError, match=program):
            apply_configuration(paths, RecordedUnits())
        assert load_marks(paths)[place] == "of another rendering"


def test_dry_run_writes_nothing_and_hides_secrets(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    report = apply_configuration(paths, RecordedUnits(), boot=True, dry_run=True)
    shown = "".join(change.diff for change in report.changes)
    assert SECRETS.macaroon_secret_key not in shown
    assert SECRETS.registration_shared_secret not in shown
    assert json.dumps(SECRETS.registration_shared_secret)[1:-1] not in shown
    assert SERVER_NAME in shown
    assert not paths.rendered.exists()


def test_boot_does_not_count_as_accepted(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    apply_configuration(paths, RecordedUnits(), boot=True)
    plan = load_plan(paths)
    items = render_plan(paths, plan, config=paths.rendered)
    assert find_changes(paths, items, plan.secrets) == ()
    assert not is_applied(paths), "nobody has checked it"


def test_time_zone_is_linked_and_an_unknown_one_is_named(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    apply_configuration(paths, RecordedUnits(), boot=True)
    assert (tmp_path / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Europe/Berlin")
    (tmp_path / "usr/share/zoneinfo/Europe/Berlin").unlink()
    (tmp_path / "etc/localtime").unlink()
    with pytest.raises(ConfigError, match="Europe/Berlin"):
        apply_configuration(paths, RecordedUnits(), boot=True)


def test_a_broken_template_is_named_with_its_line(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    paths.templates.unlink()
    paths.templates.mkdir()
    template = Template(source="x.j2", target="x", group="root", unit="u", action=Action.RELOAD)
    for text, told in (("a\n{% if %}", r"x\.j2, line 2"), ("{{ nobody }}", "'nobody' is undef")):
        (paths.templates / "x.j2").write_text(text)
        with pytest.raises(HearthError, match=told):
            render_templates(paths, [template], {})


@pytest.mark.parametrize("value", ["plain", "a: b # c", '"', "\n- x", "yes", "1", "\u20ac", True])
def test_yaml_scalars_cannot_break_out(value: object) -> None:
    text = yaml_scalar(value)
    assert "\n" not in text
    assert json.loads(text) == value


def test_nginx_has_no_path_after_its_upstreams(tmp_path: Path) -> None:
    """A path would have nginx decode %2F in Matrix IDs (reference/matrix.md, 10.3)."""
    paths = make_appliance(tmp_path)
    device_file(paths).write_text("a certificate")
    apply_configuration(paths, RecordedUnits(), boot=True)
    static = [path.read_text() for path in (OVERLAY / "etc/nginx").iterdir()]
    lines = "\n".join([rendered(paths, "nginx/https.conf"), *static]).splitlines()
    targets = [line.split()[1] for line in lines if line.split()[:1] == ["proxy_pass"]]
    assert set(targets) == {"http://hearth_homeserver;", "http://hearth_ui;"}


def test_one_apply_waits_for_another(tmp_path: Path) -> None:
    """Checking takes minutes; an older rendering must not replace a newer one."""
    paths = make_appliance(tmp_path)
    done = threading.Event()

    def apply() -> None:
        apply_configuration(paths, RecordedUnits(), boot=True)
        done.set()

    paths.runtime.mkdir(parents=True, exist_ok=True)
    with (paths.runtime / "apply.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=apply)
        thread.start()
        assert not done.wait(0.3)
        assert not paths.rendered.exists()
    assert done.wait(30)
    thread.join()
    assert paths.rendered.exists()
