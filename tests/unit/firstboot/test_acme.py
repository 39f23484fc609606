"""What the certificate's job remembers when a certificate was issued and then something fails."""

from __future__ import annotations

import fcntl
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.paths import Paths
from appliance.settings import Ddns, Public, Reach, load_settings, save_toml
from firstboot.acme import RESULT, Authorities, look_after_certificate
from services import proxy
from services.acme.contract import SAME_NAMES_LIMIT, AcmeState
from services.results import load_result
from unit.services.acme_authority import Server, serve_authority
from unit.services.appliance_files import SERVER_NAME, RecordedUnits, make_appliance

NOW = 1_800_000_000.0
DAY = 86400.0


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = make_appliance(tmp_path, reach=Reach.PUBLIC)
    settings = load_settings(paths.settings)
    assert settings is not None
    public = Public(ddns=Ddns(provider="desec", name=SERVER_NAME))
    save_toml(replace(settings, public=public), paths.settings, mode=0o640)
    clock = tmp_path / "run/systemd/timesync/synchronized"
    clock.parent.mkdir(parents=True)
    clock.touch()
    return paths


@pytest.fixture
def server() -> Iterator[Server]:
    with serve_authority() as server:
        yield server


def look(paths: Paths, server: Server, now: float = NOW) -> AcmeState:
    authorities = Authorities(real=server.authority, rehearsal=server.authority)
    state = look_after_certificate(paths, RecordedUnits(), lambda: now, authorities)
    assert state is not None
    return state


def kept(paths: Paths) -> AcmeState:
    state = load_result(paths, RESULT, AcmeState)
    assert state is not None
    return state


def test_a_certificate_that_cannot_be_kept_is_counted(paths: Paths, server: Server) -> None:
    """A full disk, for example: the authority counts all the same."""
    proxy.public_file(paths).mkdir()  # no file can take its place
    for half_days in range(12):
        look(paths, server, NOW + half_days * DAY / 2)
    state = kept(paths)
    assert "could not be written" in state.error
    assert state.issues == (NOW, NOW + DAY / 2, NOW + DAY)
    assert len(state.issues) == SAME_NAMES_LIMIT
    assert server.issued == 1 + SAME_NAMES_LIMIT, "one was the rehearsal"


def test_a_job_that_dies_while_it_installs_has_counted_before(paths: Paths, server: Server) -> None:
    """Killed while it waits for another one's apply, as the power might go."""
    authorities = Authorities(real=server.authority, rehearsal=server.authority)
    arguments = (paths, RecordedUnits(), time.time, authorities)
    with (paths.runtime / "apply.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        job = get_context("spawn").Process(target=look_after_certificate, args=arguments)
        job.start()
        wait_until(proxy.public_file(paths).exists, seconds=60, what="the new certificate")
        job.kill()
        job.join()
    assert job.exitcode == -signal.SIGKILL
    assert len(kept(paths).issues) == 1
    assert kept(paths).next_attempt > time.time()
