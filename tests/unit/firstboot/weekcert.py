"""The certificate's job in a simulated week (week.py), with an authority that speaks no ACME."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from appliance.errors import CertificateError, HearthError, NetworkError
from appliance.settings import Ddns, Secrets, load_secrets, load_settings
from services.acme.contract import (
    DAY,
    AcmeState,
    Act,
    Wanted,
    after_failure,
    after_issue,
    after_rehearsal,
    plan,
    renewed_for,
)
from services.ddns.bound import bind
from services.ddns.challenge import LABEL, DnsAnswerer
from services.names import public_names
from services.results import load_result, save_result
from services.ways import DNS_01, choose_challenge

if TYPE_CHECKING:
    from unit.firstboot.week import Week

LIFE = 6.6 * DAY  # Let's Encrypt's short-lived profile, so that a week sees renewals


def look_after_certificate(week: Week) -> None:
    """As firstboot.acme.look_after_certificate does."""
    settings, secrets = load_settings(week.paths.settings), load_secrets(week.paths.secrets)
    assert settings is not None
    names, public = public_names(settings), settings.public
    assert names is not None
    assert public is not None
    assert public.ddns is not None
    state = load_result(week.paths, "acme", AcmeState) or AcmeState()
    method = choose_challenge(week.paths, public, names, state.method)
    wanted = Wanted(names=names.all, method=method)
    while (step := plan(state, wanted, week.clock.time())).act is not Act.NOTHING:
        state = renewed_for(state, wanted)
        try:
            _order(week, names.all, method, public.ddns, secrets)
        except HearthError as error:
            state = after_failure(state, error, week.clock.time())
        else:
            now = week.clock.time()
            if step.act is Act.REHEARSE:
                state = after_rehearsal(state)
            else:
                week.authority.issue(names.all)
                state = after_issue(state, starts=now, ends=now + LIFE, now=now)
        save_result(week.paths, "acme", state)


def _order(week: Week, names: tuple[str, ...], method: str, ddns: Ddns, secrets: Secrets) -> None:
    """Raises what the real one does when a name cannot be proved."""
    if not week.is_online:
        raise NetworkError("no way to the authority")
    week.authority.order()
    bound = bind(week.paths, week.client(ddns, secrets), ddns, secrets, week.clock)
    bound = replace(bound, boot_id=lambda: str(week.boots))
    authorities = week.authorities(week.name)
    answerer = DnsAnswerer(client=bound, clock=week.clock, authorities=authorities)
    for name in names:
        if method != DNS_01:
            _ask_port_80(week, name)
            continue
        try:
            answerer.present(name, "token", "answer")
            if "answer" not in week.zone.records.get((f"{LABEL}.{name}", "TXT"), ()):
                week.authority.fail(name)
                raise CertificateError(f"{name}: no such record", kind="dns")
        finally:
            answerer.remove(name, "token", "answer")


def _ask_port_80(week: Week, name: str) -> None:
    if week.zone.records.get((name, "A"), ()) != (week.wan,):
        week.authority.fail(name)
        raise CertificateError(f"{name} leads elsewhere", kind="dns")
    if week.router.open_ports().get(80) != 8080:
        week.authority.fail(name)
        raise CertificateError("nothing answered", kind="connection")
