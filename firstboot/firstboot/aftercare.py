"""What the agent does for a server that is set up, or in rescue mode; the session was looked at."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, assert_never

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
from appliance.errors import StateError
from appliance.paths import Paths
from appliance.protocol import Done, Federation, File
from appliance.state import Phase, load_state
from firstboot import delegates
from firstboot.federation_watch import FederationWatch
from firstboot.host import Host

if TYPE_CHECKING:
    from appliance.answers import Rescue

RECOVERY_FILE = "hearth-recovery.bin"


class Aftercare:
    """Threads ask; what changes something is done by one at a time."""

    def __init__(self, paths: Paths, host: Host, *, clock: Clock = time) -> None:
        self._paths = paths
        self._host = host
        self._federation = FederationWatch(paths, host, clock=clock)
        self._lock = threading.Lock()

    def answer(self, request: AftercareRequest) -> File | Federation | Rescue | Done:
        match request:
            case MakeRecoveryFile():
                return self._recovery_file(request)
            case GetFederation() | StartFederationCheck():
                with self._lock:
                    return self._federation.answer(request)
            case GetRescue():
                from firstboot.rescue import show_rescue

                return show_rescue(self._paths)
            case TryAgain():
                from firstboot.rescue import try_again

                with self._lock:
                    try_again(self._paths)
                    self._host.reboot()
                return Done()
            case RestoreDatabase():
                from firstboot.rescue import restore_database

                with self._lock:
                    restore_database(self._paths, request.confirm)
                    self._host.reboot()
                return Done()
            case _:
                assert_never(request)

    def _recovery_file(self, request: MakeRecoveryFile) -> File:
        if load_state(self._paths.state).phase is not Phase.READY:
            raise StateError("There is nothing to recover yet: setup is not over.")
        return delegates.recovery_file(self._paths, request.passphrase, RECOVERY_FILE)
