"""The root agent: the only writer of /data/hearth, asked by the pages over a Unix socket.

No request takes a path or a command. What changes something needs a session that was issued here
after a look at claim code or password. Threads answer; ``_lock`` lets one of them change things.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from appliance.bootreport import DataCondition, load_boot_report
from appliance.deadline import Clock
from appliance.errors import AccessError, ConfigError, HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.protocol import (
    MAX_LINE,
    AdoptData,
    Apply,
    Claim,
    Done,
    Draft,
    EraseData,
    File,
    GetAuthority,
    GetDraft,
    GetStatus,
    MakeRecoveryFile,
    Request,
    Result,
    SaveHomeserver,
    SaveOwner,
    SaveServer,
    Session,
    SignIn,
    SignOut,
    Status,
    decode_request,
    encode_error,
    encode_result,
)
from appliance.settings import load_secrets, save_toml
from appliance.state import Phase, State, load_state, save_state
from firstboot import delegates
from firstboot.claims import ClaimCode
from firstboot.door import Door, internal_error, listen, ui_owner
from firstboot.draft import DraftBook, StoredDraft, settings_from
from firstboot.host import Host, SystemHost
from firstboot.preseed import Checked, load_preseed, redact_claim_code
from firstboot.sessions import Sessions
from firstboot.status import is_clock_synchronised, load_facts, measure_status
from firstboot.throttle import Throttle
from services.passwords import verify_secret

AUTHORITY_FILE = "hearth-authority.crt"
RECOVERY_FILE = "hearth-recovery.bin"


class Agent:
    """``Agent(Paths(tmp_path), host=...)`` is a whole agent; ``serve_forever`` in a thread."""

    def __init__(self, paths: Paths, *, host: Host | None = None, clock: Clock = time) -> None:
        self.paths = paths
        self.host: Host = host or SystemHost()
        self.facts = load_facts(paths)
        self.preseed = Checked()
        self.on_change: Callable[[], None] = lambda: None
        self.names: Callable[[], tuple[str, ...]] = tuple
        for directory, mode in ((paths.hearth, 0o750), (paths.runtime, 0o755)):
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
        self.claim_code = ClaimCode(paths)
        self._drafts = DraftBook(paths)
        self._sessions = Sessions(
            paths.sessions, synchronised=lambda: is_clock_synchronised(paths), clock=clock
        )
        self._throttle = Throttle(paths.runtime / "attempts.json", clock=clock)
        self._lock = threading.RLock()
        self._guessing = threading.Lock()
        self._owner = ui_owner()
        self._door: Door | None = None
        self.prepare()

    # ---- life ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """What a start has to put right: preseed, claim code, an interrupted setup."""
        self.preseed = load_preseed(self.paths)
        for note in self.preseed.notes:
            logger.warning("%s", note)
        if not self.paths.state.exists():
            save_state(State(), self.paths.state, owner=self._owner)
        if self.phase is not Phase.READY:
            self.claim_code.prepare(self.preseed.claim_code)
        self.settle()

    def serve_forever(self, *, ready: Callable[[], None] = lambda: None) -> None:
        """Answer until ``shutdown``; ``ready`` is called once the socket is there."""
        self._door = Door(listen(self.paths.agent_socket), self.answer)
        if self.phase is Phase.APPLYING:
            with self._lock:
                self._start_provisioning()
        ready()
        self._door.serve()
        self._sessions.save()

    def shutdown(self) -> None:
        if self._door is not None:
            self._door.stop()

    def settle(self) -> None:
        """Called when state.json may have changed: once setup is over, its left-overs go."""
        with self._lock:
            if self.phase is not Phase.READY:
                return
            if self.paths.draft.exists() or load_secrets(self.paths.secrets).claim_hash:
                self.claim_code.forget()
                redact_claim_code(self.paths)
                self._drafts.forget()

    @property
    def phase(self) -> Phase:
        return load_state(self.paths.state).phase

    # ---- requests -----------------------------------------------------------------------

    def answer(self, line: bytes) -> bytes:
        """The reply to one line, whatever it is; never raises."""
        try:
            if len(line) > MAX_LINE:
                raise ConfigError("the request is too long")
            request = decode_request(line)
            _check_text(request)
            return encode_result(self.handle(request))
        except HearthError as error:
            return encode_error(error)
        except RecursionError:
            return encode_error(ConfigError("not a request"))
        except Exception:
            logger.exception("a request failed unexpectedly")
            return internal_error()

    def handle(self, request: Request) -> Result:  # noqa: C901 - one case per request
        match request:
            case GetStatus():
                return self.status()
            case Claim():
                return self._claim(request)
            case SignIn():
                return self._sign_in(request)
            case SignOut():
                self._sessions.end(request.session)
                return Done()
            case GetDraft() | SaveOwner() | SaveServer() | SaveHomeserver():
                return self._draft(request)
            case Apply():
                return self._apply(request)
            case MakeRecoveryFile():
                return self._recovery_file(request)
            case GetAuthority():
                return delegates.authority_file(self.paths, AUTHORITY_FILE)
            case AdoptData():
                return self._adopt(request)
            case EraseData():
                return self._erase(request)
            case _:
                assert_never(request)

    def status(self) -> Status:
        return measure_status(
            self.paths,
            self.facts,
            names=self.names(),
            notes=self.preseed.notes,
            fingerprint=delegates.authority_fingerprint(self.paths),
        )

    # ---- who may ------------------------------------------------------------------------

    def _claim(self, request: Claim) -> Session:
        if self.phase is Phase.READY:
            message = "This Hearth has been set up; the claim code is no longer of use."
            raise StateError(message, hint="sign in with the owner's password")
        hint = "it is on the screen, or in claim-code.txt on the card's bootfs partition"
        self._guess(
            request.source,
            lambda: self.claim_code.is_valid(request.code),
            AccessError("This is not the claim code.", hint=hint),
        )
        with self._lock:
            state = load_state(self.paths.state)
            if state.phase is Phase.UNCLAIMED:
                self._save_state(replace(state, phase=Phase.SETUP))
            if self.claim_code.plain:
                self.claim_code.mark_used()
                redact_claim_code(self.paths)
            token = self._sessions.issue()
        self.on_change()
        return Session(token=token)

    def _sign_in(self, request: SignIn) -> Session:
        if self.phase in (Phase.UNCLAIMED, Phase.SETUP):
            raise StateError("This Hearth is not set up yet.", hint="use the claim code")
        stored = load_secrets(self.paths.secrets).owner_password_hash
        self._guess(
            request.source,
            lambda: verify_secret(request.password, stored),
            AccessError("This is not the owner's password."),
        )
        return Session(token=self._sessions.issue())

    def _guess(self, source: str, is_right: Callable[[], bool], wrong: AccessError) -> None:
        """One guess at a secret, under the back-off; one scrypt at a time, for the memory."""
        self._throttle.admit(source)
        with self._guessing:
            right = is_right()
        if not right:
            self._throttle.failed(source)
            logger.warning("a wrong claim code or password came from %r", source)
            raise wrong
        self._throttle.succeeded(source)

    # ---- setup --------------------------------------------------------------------------

    def _draft(self, request: GetDraft | SaveOwner | SaveServer | SaveHomeserver) -> Draft:
        self._sessions.require(request.session)
        with self._lock:
            if isinstance(request, GetDraft):
                return self._shown_draft()
            self._require_data()
            if self.phase is not Phase.SETUP:
                message = "Setup has started; the answers can no longer be changed."
                raise StateError(message, hint="look at its progress")
            match request:
                case SaveOwner():
                    return self._drafts.save_owner(
                        request.revision, request.name, request.timezone, request.password
                    )
                case SaveServer():
                    return self._drafts.save_server(request.revision, request.name, request.reach)
                case SaveHomeserver():
                    return self._drafts.save_homeserver(request.revision, request.software)
                case _:
                    assert_never(request)

    def _shown_draft(self) -> Draft:
        if self.phase is Phase.READY:
            raise StateError("Setup is over.", hint="look at the status page")
        draft = self._drafts.show()
        if draft.timezone or not self.preseed.timezone:
            return draft
        return replace(draft, timezone=self.preseed.timezone)

    def _apply(self, request: Apply) -> Done:
        self._sessions.require(request.session)
        with self._lock:
            self._require_data()
            state = load_state(self.paths.state)
            match state.phase:
                case Phase.READY:
                    return Done()
                case Phase.UNCLAIMED:
                    raise StateError("This Hearth is not claimed yet.", hint="use the claim code")
                case Phase.SETUP | Phase.FAILED:
                    self._drafts.check_complete(request.revision)
                    self._save_state(replace(state, phase=Phase.APPLYING))
                case Phase.APPLYING:
                    pass
                case _:
                    assert_never(state.phase)
            try:
                self._start_provisioning()
            except HearthError:
                if state.phase is not Phase.APPLYING:
                    self._save_state(state)
                raise
        self.on_change()
        return Done()

    def _start_provisioning(self) -> None:
        """Settings from the draft, then the unit.

        The phase is on the card before the settings: a cut in between is made good by the next
        start, and settings never lie there without a setup that goes on.
        """
        if self.paths.draft.exists():
            draft: StoredDraft = self._drafts.load()
            settings = settings_from(draft, ssh_keys=self.preseed.ssh_keys)
            save_toml(settings, self.paths.settings, mode=0o640, owner=self._owner)
        self.host.start_provisioning()

    def _save_state(self, state: State) -> None:
        save_state(state, self.paths.state, owner=self._owner)

    def _require_data(self) -> None:
        report = load_boot_report(self.paths.boot_report)
        if report.data is not DataCondition.OK:
            reason = report.data_detail or report.data.value
            message = f"There is no place to keep anything: {reason}."
            raise StateError(message, hint="see the first page for what can be done")

    # ---- recovery and old data ------------------------------------------------------------

    def _recovery_file(self, request: MakeRecoveryFile) -> File:
        self._sessions.require(request.session)
        if self.phase is not Phase.READY:
            raise StateError("There is nothing to recover yet: setup is not over.")
        return delegates.recovery_file(self.paths, request.passphrase, RECOVERY_FILE)

    def _adopt(self, request: AdoptData) -> Done:
        report = load_boot_report(self.paths.boot_report)
        disk = delegates.found_disk(report)
        self._guess(
            request.source,
            lambda: delegates.is_old_owner(self.paths, disk, request.password),
            AccessError("This is not the password of the owner of the data on this card."),
        )
        with self._lock:
            delegates.adopt_data(disk)
            self.host.reboot()
        return Done()

    def _erase(self, request: EraseData) -> Done:
        self._sessions.require(request.session)
        disk = delegates.found_disk(load_boot_report(self.paths.boot_report))
        delegates.check_erase_word(request.confirm)
        with self._lock:
            delegates.erase_data(disk)
            self.host.reboot()
        return Done()


def _check_text(request: Request) -> None:
    """JSON can spell half characters (lone surrogates), which no file can hold."""
    for item in dataclasses.fields(request):
        value = getattr(request, item.name)
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ConfigError(f"{item.name} has a broken character") from error
