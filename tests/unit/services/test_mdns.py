"""The alias's children, with a program of the same words in avahi-publish's place."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.mdns import RETRY_SECONDS, Alias, OwnName, own_name
from unit.firstboot.machine import HandClock

# avahi-publish 0.8 says these words on success and on a collision (avahi-publish.c).
PUBLISH = """#!/bin/sh
echo "$@" >> "$TMPDIR/calls"
if [ -e "$TMPDIR/taken" ]; then echo "Host name conflict" >&2; exit 1; fi
echo $$ >> "$TMPDIR/pids"
echo "Established under name 'hearth.local'" >&2
exec sleep 60
"""
BUSCTL = """#!/bin/sh
echo 's "hearth-ab12.local"'
"""


@pytest.fixture
def avahi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in (("avahi-publish", PUBLISH), ("busctl", BUSCTL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def hear(alias: Alias) -> None:
    for pipe in select.select(alias.pipes, [], [], 10)[0]:
        alias.read(pipe)


def test_it_is_announced_for_ipv4_and_taken_back(avahi: Path) -> None:
    alias = Alias()
    alias.update(("192.0.2.5", "2001:db8::5"))
    hear(alias)
    assert alias.is_established
    assert (avahi / "calls").read_text() == "-f -a -R hearth.local 192.0.2.5\n"
    process = int((avahi / "pids").read_text())
    alias.update(())
    assert not alias.is_established
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_new_address_replaces_the_old_one(avahi: Path) -> None:
    alias = Alias()
    alias.update(("192.0.2.5",))
    alias.update(("192.0.2.5",))
    hear(alias)
    alias.update(("192.0.2.6",))
    hear(alias)
    assert alias.is_established
    assert (avahi / "calls").read_text().count("\n") == 2
    alias.stop()


def test_another_hearth_has_the_name(avahi: Path) -> None:
    (avahi / "taken").touch()
    clock = HandClock()
    alias = Alias(clock=clock)
    alias.update(("192.0.2.5",))
    while alias.pipes:
        hear(alias)
    assert not alias.is_established
    assert alias.wait_seconds() == RETRY_SECONDS
    alias.update(("192.0.2.5",))
    assert alias.pipes == ()
    (avahi / "taken").unlink()
    clock.now += RETRY_SECONDS
    alias.update(("192.0.2.5",))
    hear(alias)
    assert alias.is_established
    assert alias.wait_seconds() is None
    alias.stop()


def test_without_avahi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    alias = Alias(clock=HandClock())
    alias.update(("192.0.2.5",))
    assert alias.pipes == ()
    assert alias.wait_seconds() == RETRY_SECONDS
    assert own_name() == ""


def test_the_own_name_is_asked_from_avahi(avahi: Path) -> None:
    assert own_name() == "hearth-ab12.local"


def test_a_false_alarm_about_the_own_name_is_put_right(avahi: Path) -> None:
    """As seen at a start: avahi hears itself and calls itself hearth-ab12-2."""
    (avahi / "busctl").write_text('#!/bin/sh\necho "s \\"$(cat $TMPDIR/name)\\""\n')
    (avahi / "avahi-set-host-name").write_text('#!/bin/sh\necho "$1.local" > $TMPDIR/name\n')
    (avahi / "avahi-set-host-name").chmod(0o755)
    (avahi / "name").write_text("hearth-ab12-2.local\n")
    clock = HandClock()
    own = OwnName("hearth-ab12", clock=clock)
    own.refresh("cable")
    assert own.name == "hearth-ab12-2.local"
    assert own.wait_seconds() == RETRY_SECONDS
    own.refresh("cable")
    assert own.name == "hearth-ab12-2.local"
    clock.now += RETRY_SECONDS
    own.refresh("cable")
    assert own.name == "hearth-ab12.local"
    assert own.wait_seconds() is None
