"""Files and waiting: atomic writes, the state file, settings, the boot report, deadlines."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from appliance.atomic import write_atomic
from appliance.bootreport import (
    BootReport,
    DataCondition,
    load_boot_report,
    parse_boot_report,
    render_boot_report,
)
from appliance.deadline import Deadline, wait_until
from appliance.errors import ConfigError, DeadlineError
from appliance.settings import (
    Device,
    Owner,
    Reach,
    Secrets,
    Server,
    Settings,
    Software,
    load_secrets,
    load_settings,
    save_toml,
)
from appliance.state import Phase, State, StepState, StepStatus, load_state, save_state

SETTINGS = Settings(
    owner=Owner(name="anna"),
    device=Device(timezone="Europe/Berlin", ssh_keys=("ssh-ed25519 AAAA a@b",)),
    server=Server(name="home.example.org", reach=Reach.LAN, software=Software.DENDRITE),
)


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_an_atomic_write_replaces_mode_and_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "one")
    write_atomic(path, b"two", mode=0o600)
    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o7777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomic(path, "new" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_settings_come_back(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    assert load_settings(path) is None
    save_toml(SETTINGS, path, mode=0o640)
    assert load_settings(path) == SETTINGS
    assert path.stat().st_mode & 0o7777 == 0o640


def test_settings_with_a_mistake_name_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    save_toml(SETTINGS, path, mode=0o640)
    path.write_text(path.read_text().replace("[owner]\nname", "[owner]\nnam"))
    with pytest.raises(ConfigError, match=r"settings\.toml: owner: unknown key 'nam'"):
        load_settings(path)
    path.write_text("not toml")
    with pytest.raises(ConfigError, match=r"cannot read .*settings\.toml"):
        load_settings(path)


def test_secrets_do_not_show_in_a_traceback(tmp_path: Path) -> None:
    secrets = Secrets(owner_password_hash="HASH", pending_password="PLAIN")
    assert "HASH" not in repr(secrets)
    assert "PLAIN" not in repr(secrets)
    save_toml(secrets, tmp_path / "s", mode=0o600)
    assert load_secrets(tmp_path / "s") == secrets
    assert load_secrets(tmp_path / "none") == Secrets()


def test_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert load_state(path) == State()
    step = StepStatus(name="a", title="A", state=StepState.FAILED, error="no", hint="do")
    state = State(phase=Phase.FAILED, steps=(step,))
    save_state(state, path)
    assert load_state(path) == state
    assert path.stat().st_mode & 0o7777 == 0o640


def test_a_damaged_state_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"version": 1, "phase": "rea')
    with pytest.raises(ConfigError, match="is not JSON"):
        load_state(path)


def test_boot_reports_come_back() -> None:
    report = BootReport(slot="B", disk=Path("/dev/mmcblk0"), data=DataCondition.FOUND,
                        data_detail="an earlier Hearth's", first_boot=True)  # fmt: skip
    assert parse_boot_report(render_boot_report(report)) == report


def test_without_a_report_data_counts_as_missing(tmp_path: Path) -> None:
    assert load_boot_report(tmp_path / "boot").data is DataCondition.MISSING


def test_an_unknown_condition_is_missing_and_says_why() -> None:
    report = parse_boot_report("slot=A\ndata=broken\nnoise\n")
    assert report.data is DataCondition.MISSING
    assert "'broken'" in report.data_detail


def test_waiting_ends_with_the_answer() -> None:
    clock = FakeClock()
    answers = iter([None, "", 0, "there"])
    found = wait_until(lambda: next(answers), seconds=10, what="it", every=2, clock=clock)
    assert found == "there"
    assert clock.slept == [2, 2, 2]


def test_waiting_ends_at_the_deadline_and_names_what() -> None:
    clock = FakeClock()
    with pytest.raises(DeadlineError, match="the door did not happen within 5 s"):
        wait_until(lambda: None, seconds=5, what="the door", every=2, clock=clock)
    assert clock.now == pytest.approx(105, abs=0.01)


def test_a_deadline_runs_down_to_zero() -> None:
    clock = FakeClock()
    deadline = Deadline(3, clock=clock)
    clock.now += 2
    assert deadline.remaining == 1
    assert not deadline.expired
    clock.now += 2
    assert deadline.remaining == 0
    assert deadline.expired
