"""The root agent: the only writer of /data/hearth, asked by the pages over a Unix socket.

No request takes a path or a command. What changes something needs a session that was issued here
after a look at claim code or password. Threads answer; ``_lock`` lets one of them change things.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from appliance.aftercare import (
    AftercareRequest,
    GetFederation,
    GetRescue,
    MakeRecoveryFile,
    RestoreDatabase,
    StartFederationCheck,
    TryAgain,
)
from appliance.deadline import Clock
from appliance.errors import ConfigError, HearthError, StateError
from appliance.fate import AdoptData, BringBack, EraseData, FactoryReset
from appliance.log import logger
from appliance.paths import Paths
from appliance.protocol import (
    MAX_LINE,
    Apply,
    Claim,
    Done,
    Draft,
    File,
    GetAuthority,
    GetDraft,
    GetProviders,
    GetStatus,
    GetTunnelScript,
    PassNetwork,
    Request,
    Result,
    SaveAddress,
    SaveHomeserver,
    SaveOwner,
    SaveServer,
    SaveTunnel,
    SaveWay,
    Session,
    SignIn,
    SignOut,
    StartAddressCheck,
    StartNetworkCheck,
    StartTunnelCheck,
    Status,
    decode_request,
    encode_error,
    encode_result,
)
from appliance.settings import load_secrets
from appliance.state import Phase
from appliance.updating import (
    GetUpdates,
    InstallUpdate,
    LookForUpdate,
    RestartIntoUpdate,
    SaveUpdating,
    UpdatingRequest,
)
from firstboot import delegates
from firstboot.aftercare import Aftercare
from firstboot.door import Door, check_text, internal_error, listen
from firstboot.fate import Fate
from firstboot.gate import Gate
from firstboot.handover import take_over
from firstboot.host import Host, SystemHost
from firstboot.kept import forget_password
from firstboot.preseed import Checked, redact_claim_code
from firstboot.reset_file import obey_file
from firstboot.setup import Check, Save, Setup
from firstboot.status import load_facts, measure_status

PREPARE_SECONDS = 60.0


class Agent:
    """``Agent(Paths(tmp_path), host=...)`` is a whole agent; ``serve_forever`` in a thread.

    With ``prepare=False`` the caller calls ``prepare`` itself, beside ``serve_forever``: the first
    page then waits neither for a hash nor for a write to the card.
    """

    def __init__(
        self,
        paths: Paths,
        *,
        host: Host | None = None,
        clock: Clock = time,
        prepare: bool = True,
    ) -> None:
        self.paths = paths
        self.host: Host = host or SystemHost()
        self.facts = load_facts(paths)
        self.preseed = Checked()
        self.on_change: Callable[[], None] = lambda: None
        self.names: Callable[[], tuple[str, ...]] = tuple
        for directory, mode in ((paths.hearth, 0o750), (paths.runtime, 0o755)):
            directory.mkdir(mode=mode, parents=True, exist_ok=True)
        self.gate = Gate(paths, clock=clock)
        self.setup = Setup(paths, self.host, clock=clock)
        self._aftercare = Aftercare(paths, self.host, clock=clock)
        self._lock = threading.RLock()
        self._fate = Fate(paths, self.host, self.gate, self._lock)
        self._prepared = threading.Event()
        self._door: Door | None = None
        self.setup.ensure_state()
        if prepare:
            self.prepare()

    # ---- life ---------------------------------------------------------------------------

    @property
    def is_prepared(self) -> bool:
        return self._prepared.is_set()

    def prepare(self) -> None:
        """What a start has to put right: preseed, claim code, left-overs, a setup cut short."""
        if obey_file(self.paths, self.host):
            return  # the machine restarts
        self.preseed = take_over(self.paths)
        for note in self.preseed.notes:
            logger.warning("%s", note)
        if self.setup.phase is not Phase.READY:
            self.gate.claim_code.prepare(self.preseed.claim_code)
        else:
            forget_password(self.paths)
            notes = (*self.preseed.notes, *redact_claim_code(self.paths))
            self.preseed = replace(self.preseed, notes=notes)
        self.settle()
        self._go_on()
        self._prepared.set()
        self.on_change()

    def serve_forever(self, *, ready: Callable[[], None] = lambda: None) -> None:
        """Answer until ``shutdown``; ``ready`` is called once the socket is there."""
        door = self.open()
        ready()
        door.serve()
        self.gate.sessions.save()

    def open(self) -> Door:
        """The door, so that ``shutdown`` works from then on."""
        if self._door is None:
            self._door = Door(listen(self.paths.agent_socket), self.answer)
        return self._door

    def shutdown(self) -> None:
        if self._door is not None:
            self._door.stop()

    def settle(self) -> None:
        """Called when state.json may have changed: once setup is over, its left-overs go."""
        with self._lock:
            if self.setup.phase is not Phase.READY:
                return
            if self.paths.draft.exists() or load_secrets(self.paths.secrets).claim_hash:
                self.gate.claim_code.forget()
                forget_password(self.paths)
                redact_claim_code(self.paths)
                self.setup.drafts.forget()

    def _go_on(self) -> None:
        """A setup that a reboot or a crash interrupted is started again."""
        if self.setup.phase is not Phase.APPLYING:
            return
        try:
            with self._lock:
                self.setup.start_provisioning(self.preseed)
        except HearthError:
            # The owner may press the button again; the pages must be there for it.
            logger.exception("the interrupted setup could not be started again")

    # ---- requests -----------------------------------------------------------------------

    def answer(self, line: bytes) -> bytes:
        """The reply to one line, whatever it is; never raises."""
        try:
            if len(line) > MAX_LINE:
                raise ConfigError("the request is too long")
            request = decode_request(line)
            check_text(request)
            return encode_result(self.handle(request))
        except HearthError as error:
            return encode_error(error)
        except RecursionError:
            return encode_error(ConfigError("not a request"))
        except Exception:
            logger.exception("a request failed unexpectedly")
            return internal_error()

    def handle(self, request: Request) -> Result:  # noqa: C901 - one case per request
        if not isinstance(request, GetStatus) and not self._prepared.wait(PREPARE_SECONDS):
            raise StateError("The appliance is still starting.", hint="try again in a minute")
        match request:
            case GetStatus():
                return self.status()
            case Claim():
                return self._claim(request)
            case SignIn():
                return self.gate.sign_in(request.password, request.source, self.setup.phase)
            case SignOut():
                self.gate.sessions.end(request.session)
                return Done()
            case GetDraft():
                self.gate.sessions.require(request.session)
                with self._lock:
                    return self.setup.show(self.preseed)
            case PassNetwork() | SaveOwner() | SaveServer() | SaveAddress() | SaveWay():
                return self._save(request)
            case SaveTunnel() | SaveHomeserver():
                return self._save(request)
            case StartNetworkCheck() | StartAddressCheck() | StartTunnelCheck():
                return self._start_check(request)
            case GetTunnelScript():
                return self._tunnel_script(request)
            case GetProviders():
                return delegates.providers()
            case Apply():
                return self._apply(request)
            case MakeRecoveryFile() | GetFederation() | StartFederationCheck():
                return self._look_after(request)
            case GetRescue() | TryAgain() | RestoreDatabase():
                return self._look_after(request)
            case GetUpdates() | LookForUpdate() | InstallUpdate():
                return self._update(request)
            case RestartIntoUpdate() | SaveUpdating():
                return self._update(request)
            case GetAuthority():
                return delegates.authority_file(self.paths)
            case AdoptData() | EraseData() | FactoryReset() | BringBack():
                self._fate.answer(request)
                return Done()
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

    def _claim(self, request: Claim) -> Session:
        self.gate.check_claim(request.code, request.source, self.setup.phase)
        with self._lock:
            self.setup.begin()
            session = self.gate.take_claim()
        self.on_change()
        return session

    def _save(self, request: Save) -> Draft:
        self.gate.sessions.require(request.session)
        with self._lock:
            return self.setup.save(request)

    def _start_check(self, request: Check) -> Done:
        self.gate.sessions.require(request.session)
        with self._lock:
            self.setup.start_check(request)
        return Done()

    def _tunnel_script(self, request: GetTunnelScript) -> File:
        self.gate.sessions.require(request.session)
        with self._lock:
            self.setup.require_tunnel()
            return delegates.tunnel_script(self.paths)

    def _apply(self, request: Apply) -> Done:
        self.gate.sessions.require(request.session)
        with self._lock:
            self.setup.apply(request, self.preseed)
        self.on_change()
        return Done()

    def _update(self, request: UpdatingRequest) -> Result:
        self.gate.sessions.require(request.session)
        from firstboot import update_answers

        with self._lock:
            return update_answers.answer(request, self.paths, self.host)

    def _look_after(self, request: AftercareRequest) -> Result:
        self.gate.sessions.require(request.session)
        with self._lock:
            return self._aftercare.answer(request)
