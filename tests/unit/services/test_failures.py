"""Failures under /data: whole or not at all, few, and never more than the card can bear."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from pathlib import Path

import pytest

from appliance.paths import Paths
from services.failures import (
    JOURNAL_BYTES,
    KEPT,
    Failure,
    drop_trial_log,
    keep_trial_log,
    load_failures,
    load_log,
    save_failure,
    take_trial_log,
)

FAILURE = Failure(version="0.3.0", slot="B", reason="no init", checks={"agent": "silent"}, at=5.0)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    made.data.mkdir()
    return made


def test_what_was_saved_is_there_with_its_journal(paths: Paths) -> None:
    name = save_failure(paths, FAILURE, "one\ntwo\n")
    assert name == "0001-0.3.0-B"
    assert load_failures(paths) == ((name, FAILURE),)
    assert load_log(paths, name) == "one\ntwo\n"
    assert [path.name for path in paths.failures.iterdir()] == [name]


def test_only_the_newest_are_kept(paths: Paths) -> None:
    for number in range(KEPT + 3):
        save_failure(paths, Failure(version=f"0.{number}", slot="A"), "")
    found = load_failures(paths)
    assert [failure.version for _, failure in found] == [f"0.{n}" for n in (7, 6, 5, 4, 3)]
    assert len(list(paths.failures.iterdir())) == KEPT


def test_a_long_journal_keeps_its_end(paths: Paths) -> None:
    name = save_failure(paths, FAILURE, "x" * 99 + "\n" + "line\n" * 200_000 + "the end\n")
    log = load_log(paths, name)
    assert log.endswith("line\nthe end\n")
    assert log.startswith("line\n")
    assert len(log) <= JOURNAL_BYTES


def test_a_version_of_any_form_makes_a_name(paths: Paths) -> None:
    for version in ("../../etc", "", "1.0 \n", "v" * 200, "0.3.0.dev0+g1a2b"):
        name = save_failure(paths, Failure(version=version, slot="B"), "log\n")
        assert "/" not in name
        assert load_log(paths, name) == "log\n"
    assert len(load_failures(paths)) == 5
    assert load_log(paths, "../../etc/passwd") == ""


def test_what_a_power_cut_left_is_swept_and_never_shown(paths: Paths) -> None:
    (paths.failures / ".new-abc").mkdir(parents=True)
    (paths.failures / ".new-abc/reason.json").write_text("{")
    damaged = paths.failures / "0007-0.1-A"
    damaged.mkdir()
    (damaged / "reason.json").write_text("")
    assert load_failures(paths) == ()
    name = save_failure(paths, FAILURE, "")
    assert name == "0008-0.3.0-B"
    assert not (paths.failures / ".new-abc").exists()


def test_a_full_card_keeps_the_reason_if_not_the_journal(paths: Paths) -> None:
    """The kernel's own limit on a file's size stands in for the full card: write(2), EFBIG."""
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024, hard))
    try:
        name = save_failure(paths, FAILURE, "line\n" * 20_000)
        keep_trial_log(paths, "line\n" * 20_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
    assert load_failures(paths) == ((name, FAILURE),)
    assert 0 < len(load_log(paths, name)) <= 8 * 1024
    assert take_trial_log(paths) == ""


def test_nothing_at_all_fits(paths: Paths) -> None:
    """What cannot be made at all is an OSError, and leaves nothing half-made."""
    paths.failures.write_text("a file where the directory should be")
    with pytest.raises(OSError, match=os.strerror(errno.EEXIST)):
        save_failure(paths, FAILURE, "")
    assert load_failures(paths) == ()


def test_the_journal_so_far_of_a_trial(paths: Paths) -> None:
    assert take_trial_log(paths) == ""
    keep_trial_log(paths, "first\n")
    keep_trial_log(paths, "second\n")
    assert take_trial_log(paths) == "second\n"
    drop_trial_log(paths)
    drop_trial_log(paths)
    assert take_trial_log(paths) == ""


def test_the_reason_of_a_newer_version_can_be_read(paths: Paths) -> None:
    """The new version wrote it, and the old one shows it."""
    name = save_failure(paths, FAILURE, "")
    file = paths.failures / name / "reason.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "moon": "full"}))
    assert load_failures(paths) == ((name, FAILURE),)
