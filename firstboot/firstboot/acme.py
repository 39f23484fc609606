"""The certificate that the world sees: asked for, renewed, put in place. Run by hearth-acme.timer.

What this leaves as its result is also what it knows the next time: failures in a row, the next
attempt, a refusal that waits for the owner. It is written before an attempt as if the attempt had
failed, so that a machine that dies each time does not ask each time.
"""

from __future__ import annotations

import errno
import fcntl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.errors import (
    CertificateError,
    CheckerError,
    DiskFullError,
    HearthError,
    StateError,
)
from appliance.log import logger, progress
from appliance.paths import Paths
from appliance.secretfile import load_both
from appliance.settings import Secrets, Settings
from firstboot.status import is_clock_synchronised
from services import proxy
from services.acme.account import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Authority, connect
from services.acme.challenge import Answerer, Webroot
from services.acme.contract import (
    AcmeState,
    Act,
    Wanted,
    after_failure,
    after_issue,
    after_rehearsal,
    plan,
    renewed_for,
)
from services.acme.order import Issued, order_certificate
from services.configuration import apply_configuration
from services.ddns.bound import bind
from services.ddns.challenge import DnsAnswerer
from services.ddns.result import make_client
from services.names import public_names
from services.owners import find_owner
from services.results import load_result, save_result
from services.units import Units
from services.ways import HTTP_01, choose_challenge

RESULT = "acme"


@dataclass(frozen=True, kw_only=True)
class Authorities:
    """Who issues, and who rehearses first because mistakes there cost nothing."""

    real: Authority = LETS_ENCRYPT
    rehearsal: Authority = LETS_ENCRYPT_STAGING


def look_after_certificate(
    paths: Paths,
    units: Units,
    clock: Callable[[], float],
    authorities: Authorities | None = None,
) -> AcmeState | None:
    """Do what is due now; None where no public certificate is wanted. Errors are in the result."""
    settings, secrets = load_both(paths)
    names = public_names(settings) if settings else None
    if settings is None or names is None:
        return None
    if not is_clock_synchronised(paths):
        logger.info("the clock is not set yet, and certificates are about dates; later")
        return load_state(paths)
    with (paths.runtime / "acme.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = load_state(paths)
        answerer = find_answerer(paths, settings, secrets, before.method)
        wanted = Wanted(names=names.all, method=answerer.kind)
        # What an earlier wish met with is no news of this one, also where nothing is to be done.
        state = renewed_for(before, wanted)
        if state != before:
            save_result(paths, RESULT, state)
        while (step := plan(state, wanted, clock())).act is not Act.NOTHING:
            logger.info("%s", step.why)
            attempt = Attempt(paths=paths, units=units, clock=clock, answerer=answerer)
            state = attempt.run(state, step.act, authorities or Authorities())
            save_result(paths, RESULT, state)
        logger.info("%s", step.why)
    return state


def load_state(paths: Paths) -> AcmeState:
    """The last result; without the certificate's own part when the file is not there any more."""
    state = load_result(paths, RESULT, AcmeState) or AcmeState()
    if proxy.public_file(paths).exists():
        return state
    return replace(state, certified=(), ends=0.0, renew_at=0.0)


def find_answerer(paths: Paths, settings: Settings, secrets: Secrets, before: str) -> Answerer:
    """How the names are proved now; ``before`` is the method of the last attempt."""
    public, names = settings.public, public_names(settings)
    assert public is not None
    assert names is not None
    if choose_challenge(paths, public, names, before) == HTTP_01:
        return Webroot(paths)
    assert public.ddns is not None
    client = make_client(public.ddns, secrets)
    return DnsAnswerer(client=bind(paths, client, public.ddns, secrets, time), clock=time)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    paths: Paths
    units: Units
    clock: Callable[[], float]
    answerer: Answerer

    def run(self, state: AcmeState, act: Act, authorities: Authorities) -> AcmeState:
        """One rehearsal or one certificate, and the state after it."""
        died = CertificateError("the attempt that was begun has not ended yet", kind="slow")
        save_result(self.paths, RESULT, after_failure(state, died, self.clock()))
        counted = state
        try:
            if act is Act.REHEARSE:
                self._order(state, authorities.rehearsal)
                return after_rehearsal(state)
            issued = self._order(state, authorities.real)
            after = after_issue(state, starts=issued.starts, ends=issued.ends, now=self.clock())
            # The authority has counted it, whether nginx can use it or not.
            # And whether this job lives to see it or not.
            counted = replace(state, issues=after.issues)
            save_result(self.paths, RESULT, after_failure(counted, died, self.clock()))
            self._install(issued)
        except (HearthError, OSError) as error:
            known = error if isinstance(error, HearthError) else _explain(error)
            logger.warning("%s", known.message)
            return after_failure(counted, known, self.clock())
        return after

    def _order(self, state: AcmeState, authority: Authority) -> Issued:
        with progress(f"Asking {authority.title} for {', '.join(state.names)}"):
            connection = connect(self.paths, authority)
            return order_certificate(connection, state.names, self.answerer, report=logger.info)

    def _install(self, issued: Issued) -> None:
        """Beside the old one first: nginx itself says whether it can serve the new one."""
        file = proxy.public_file(self.paths)
        before = file.read_bytes() if file.exists() else None
        self._write(file, issued.pem)
        try:
            apply_configuration(self.paths, self.units)
            if before is not None and self.units.is_active(proxy.UNIT):
                self.units.reload(proxy.UNIT)
        except CheckerError:
            if before is None:
                file.unlink()
            else:
                self._write(file, before)
            raise
        except (HearthError, OSError) as error:
            # It is in place and good: nginx serves it after its next start. Asking for another one
            # would help nobody, and be counted.
            logger.warning("the certificate is there, but not served yet: %s", error)

    def _write(self, file: Path, pem: bytes) -> None:
        write_atomic(file, pem, mode=0o640, owner=find_owner(self.paths, "root", proxy.GROUP))


def _explain(error: OSError) -> HearthError:
    message = f"a file of the certificate could not be written: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(message, hint="make room on the card; then it is tried again")
    return StateError(message, hint="look at: hearthctl doctor data")
