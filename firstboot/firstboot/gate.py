"""Who may: claim code and passwords in, sessions out, with the back-off before both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from appliance.deadline import Clock
from appliance.errors import AccessError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.protocol import Session
from appliance.settings import load_secrets
from appliance.state import Phase
from firstboot.claims import ClaimCode
from firstboot.kept import is_preset_password
from firstboot.preseed import redact_claim_code
from firstboot.sessions import Sessions
from firstboot.status import is_clock_synchronised
from firstboot.throttle import Throttle
from services.passwords import verify_secret

# Wrong ones, from everybody, at the password set at flashing; a restart allows as many again.
PRESET_GUESSES = 20
MAX_SOURCE = 64  # an IPv6 address with its zone; a UI gone bad must not fill memory with names


class Gate:
    """Checks guesses and issues sessions; knows nothing about what a session is for."""

    def __init__(self, paths: Paths, *, clock: Clock = time) -> None:
        self.claim_code = ClaimCode(paths)
        self.sessions = Sessions(
            paths.sessions, synchronised=lambda: is_clock_synchronised(paths), clock=clock
        )
        self._paths = paths
        self._throttle = Throttle(paths.runtime / "attempts.json", clock=clock)
        self._guessing = threading.Lock()
        self._preset_guesses = PRESET_GUESSES

    def check_claim(self, code: str, source: str, phase: Phase) -> None:
        """Raises AccessError for a wrong or too early guess."""
        if phase is Phase.READY:
            message = "This Hearth has been set up; the claim code is no longer of use."
            raise StateError(message, hint="sign in with the owner's password")
        hint = "it is on the screen, or in claim-code.txt on the card's bootfs partition"
        self.guess(
            source,
            lambda: self.claim_code.is_valid(code) or self._is_preset_password(code),
            AccessError("This is not the claim code.", hint=hint),
        )

    def _is_preset_password(self, given: str) -> bool:
        """Raspberry Pi Imager takes any password, and the word lists of a neighbour are long."""
        if self._preset_guesses <= 0:
            return False
        is_right = is_preset_password(self._paths, given)
        self._preset_guesses -= not is_right
        return is_right

    def take_claim(self) -> Session:
        """After a right guess: the plain code goes, a session comes."""
        if self.claim_code.plain:
            self.claim_code.mark_used()
            redact_claim_code(self._paths)
        return Session(token=self.sessions.issue())

    def sign_in(self, password: str, source: str, phase: Phase) -> Session:
        if phase in (Phase.UNCLAIMED, Phase.SETUP):
            raise StateError("This Hearth is not set up yet.", hint="use the claim code")
        stored = load_secrets(self._paths.secrets).owner_password_hash
        self.guess(
            source,
            lambda: verify_secret(password, stored),
            AccessError("This is not the owner's password."),
        )
        return Session(token=self.sessions.issue())

    def guess(self, source: str, is_right: Callable[[], bool], wrong: AccessError) -> None:
        """One guess at a secret, under the back-off; one at a time.

        The next one is admitted only when this one has counted, or many sent at once would all be
        looked at; and one scrypt at a time is all that the memory bears.
        """
        source = source[:MAX_SOURCE]
        with self._guessing:
            self._throttle.admit(source)
            if is_right():
                self._throttle.succeeded(source)
                return
            self._throttle.failed(source)
        logger.warning("a wrong claim code or password came from %r", source)
        raise wrong
