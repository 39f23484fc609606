"""What the agent does with data as a whole: adopt, erase, reset, bring back; then it restarts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, assert_never

from appliance.bootreport import BootReport, DataCondition, load_boot_report
from appliance.errors import AccessError, FieldError, StateError
from appliance.fate import (
    RESET_WORD,
    AdoptData,
    BringBack,
    EraseData,
    FactoryReset,
    FateRequest,
)
from appliance.paths import Paths
from appliance.settings import load_secrets
from appliance.state import Phase, load_state
from firstboot import delegates
from firstboot.gate import Gate
from firstboot.host import Host
from services.passwords import verify_secret

if TYPE_CHECKING:
    from services.olddata import OldOwner


class Fate:
    """``lock`` is the agent's: one thread changes things at a time, but none waits for a guess."""

    def __init__(self, paths: Paths, host: Host, gate: Gate, lock: threading.RLock) -> None:
        self._paths = paths
        self._host = host
        self._gate = gate
        self._lock = lock
        self._old_owner: OldOwner | None = None

    def answer(self, request: FateRequest) -> None:
        match request:
            case AdoptData():
                self._adopt(request)
            case EraseData():
                self._erase(request)
            case FactoryReset():
                self._gate.sessions.require(request.session)
                check_reset_word(request.confirm)
                with self._lock:
                    start_reset(self._paths, self._host, keep=request.keep, origin="page")
            case BringBack():
                self._bring_back(request)
            case _:
                assert_never(request)

    def _adopt(self, request: AdoptData) -> None:
        disk = delegates.found_disk(load_boot_report(self._paths.boot_report))
        with self._lock:
            if self._old_owner is None:
                self._old_owner = delegates.find_old_owner(self._paths, disk)
            owner = self._old_owner
        self._guess(request.source, lambda: owner.has(request.password), "the data on this card")
        with self._lock:
            delegates.adopt_data(disk)
            self._host.reboot()

    def _erase(self, request: EraseData) -> None:
        self._gate.sessions.require(request.session)
        disk = delegates.found_disk(load_boot_report(self._paths.boot_report))
        delegates.check_erase_word(request.confirm)
        with self._lock:
            delegates.erase_data(self._paths, disk, self._host.give_back_ports)
            self._host.reboot()

    def _bring_back(self, request: BringBack) -> None:
        """Whoever has claimed the appliance since must agree: their data would go."""
        from services.reset import has_kept, order_bring_back

        if load_state(self._paths.state).phase is not Phase.UNCLAIMED:
            self._gate.sessions.require(request.session)
        if not has_kept(self._paths):
            raise StateError("There are no data of before a factory reset.", hint="reload the page")
        stored = load_secrets(self._paths.before_reset / "hearth" / "secrets.toml")
        hashed = stored.owner_password_hash
        if not hashed:
            message = "The appliance was never set up before the reset, so there is no owner."
            raise StateError(message, hint="set it up now")
        self._guess(
            request.source,
            lambda: verify_secret(request.password, hashed),
            "the data of before the reset",
        )
        with self._lock:
            order_bring_back(self._paths, origin="page", now=time.time())
            self._host.restart_into_reset()

    def _guess(self, source: str, is_right: Callable[[], bool], of_what: str) -> None:
        wrong = AccessError(f"This is not the password of the owner of {of_what}.")
        self._gate.guess(source, is_right, wrong)


def check_reset_word(confirm: str) -> None:
    if confirm.strip().lower() != RESET_WORD:
        raise FieldError("confirm", f"Type the word {RESET_WORD!r} to confirm.")


def start_reset(
    paths: Paths, host: Host, *, keep: bool, origin: str, request: str = "", force: bool = False
) -> None:
    """Order it and restart. Raises StateError where there is nothing that could be reset."""
    from firstboot.rescue import leave_rescue
    from services.reset import format_damaged, order_reset

    report = load_boot_report(paths.boot_report)
    match report.data:
        case DataCondition.OK:
            order_reset(
                paths, keep=keep, origin=origin, now=time.time(), request=request, force=force
            )
            leave_rescue(paths)
            host.restart_into_reset()
        case DataCondition.DAMAGED if report.disk is not None:
            if keep:
                message = "Damaged data cannot be put aside: a reset makes them anew."
                raise FieldError("keep", message, hint="copy the card first if they matter")
            format_damaged(report.disk)
            leave_rescue(paths)
            host.reboot()
        case _:
            raise _no_reset(report)


def _no_reset(report: BootReport) -> StateError:
    if report.data is DataCondition.FOUND:
        message = "This card holds the data of an earlier Hearth: use them again, or erase them."
        return StateError(message, hint="see the first page")
    message = f"There are no data that could be reset: {report.data_detail or report.data.value}."
    return StateError(message, hint="see the first page for what can be done")
