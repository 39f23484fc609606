"""A new address asks for a new certificate: at once, once, and seldom enough for the card."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import CommandError
from appliance.state import Phase
from firstboot.certificate import ensure_certificate
from firstboot.renewal import PAUSE_SECONDS, Renewal
from services.authority import certified_addresses, note_addresses
from services.network import local_addresses
from unit.firstboot.machine import Machine

HOME, MOVED = ("192.0.2.10",), ("192.0.2.10", "2001:db8::7")


@pytest.fixture
def renewal(machine: Machine) -> Renewal:
    machine.paths.certificates.mkdir()
    return Renewal(machine.paths, machine.host, clock=machine.clock)


def test_nothing_is_asked_for_before_there_is_a_certificate(
    machine: Machine, renewal: Renewal
) -> None:
    renewal.look(HOME, Phase.UNCLAIMED)
    assert machine.host.acts == []


def test_an_address_that_the_certificate_lacks_is_asked_for_once(
    machine: Machine, renewal: Renewal
) -> None:
    note_addresses(machine.paths, frozenset(HOME))
    renewal.look(HOME, Phase.READY)
    renewal.look((), Phase.READY)
    assert machine.host.acts == []
    for _ in range(3):
        renewal.look(MOVED, Phase.READY)
    assert machine.host.acts == ["renew"]
    assert renewal.wait_seconds() is None
    note_addresses(machine.paths, frozenset(MOVED))
    machine.clock.now += PAUSE_SECONDS
    renewal.look(MOVED, Phase.READY)
    assert machine.host.acts == ["renew"]


def test_a_run_that_was_under_way_already_does_not_swallow_the_news(
    machine: Machine, renewal: Renewal
) -> None:
    """It had looked at the addresses before; systemd merges our request into it."""
    note_addresses(machine.paths, frozenset(["192.0.2.9"]))
    renewal.look(MOVED, Phase.READY)
    note_addresses(machine.paths, frozenset(HOME))
    renewal.look(MOVED, Phase.READY)
    assert machine.host.acts == ["renew"]
    assert renewal.wait_seconds() == PAUSE_SECONDS
    machine.clock.now += PAUSE_SECONDS
    renewal.look(MOVED, Phase.READY)
    assert machine.host.acts == ["renew", "renew"]


def test_while_setup_makes_its_own_nothing_is_asked_for(machine: Machine, renewal: Renewal) -> None:
    note_addresses(machine.paths, frozenset(HOME))
    renewal.look(MOVED, Phase.APPLYING)
    assert machine.host.acts == []
    renewal.look(MOVED, Phase.READY)
    assert machine.host.acts == ["renew"]


def test_a_unit_that_does_not_start_is_tried_again(
    machine: Machine, renewal: Renewal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise CommandError("systemctl failed with exit code 1")

    note_addresses(machine.paths, frozenset(HOME))
    monkeypatch.setattr(machine.host, "renew_certificate", refuse)
    renewal.look(MOVED, Phase.READY)
    monkeypatch.undo()
    assert renewal.wait_seconds() == PAUSE_SECONDS
    machine.clock.now += PAUSE_SECONDS
    renewal.look(MOVED, Phase.READY)
    assert machine.host.acts == ["renew"]


def test_the_note_says_what_was_signed(machine: Machine, tmp_path: Path) -> None:
    paths = machine.paths
    paths.certificates.mkdir()
    assert certified_addresses(paths) is None
    assert ensure_certificate(paths, final=False)
    assert certified_addresses(paths) == frozenset(local_addresses())
    # An address that has gone is still good in the certificate, and no reason for a new one.
    note_addresses(paths, frozenset([*local_addresses(), "192.0.2.99"]))
    assert not ensure_certificate(paths, final=False)
    assert "192.0.2.99" in (certified_addresses(paths) or ())
