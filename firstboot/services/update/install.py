"""Installing a bundle into the other slot: by RAUC, watched from here, gone on with after a cut.

What is downloaded twice after an interruption is little: RAUC takes the blocks that are in either
slot already from there ("adaptive update" in its manual).

The caller holds services.update.lock.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from appliance.deadline import WallClock
from appliance.errors import (
    ConflictError,
    DeadlineError,
    HearthError,
    ImageError,
    StateError,
)
from appliance.log import logger
from appliance.paths import Paths
from appliance.update import Stage, UpdateState
from services import slots
from services.units import SystemdUnits, Units
from services.update.gates import check_facts, check_slots, check_space
from services.update.hashindex import prepare_indexes
from services.update.machine import read_machine
from services.update.rauc import BundleInfo, Progress, Rauc, explain
from services.update.state import load_update, save_update

UNIT = "rauc.service"
POLL_SECONDS = 1.0
# RAUC gives up on a server that sends nothing after five minutes (NBD_ATTR_TIMEOUT in src/nbd.c);
# this is for a RAUC that does not.
STALL_SECONDS = 1800.0
AGAIN = "it is tried again by itself"
Report = Callable[[UpdateState], None]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """``version`` is what the channel promised; empty where nobody promised anything."""

    source: str
    version: str = ""
    by_hand: bool = False


@dataclass(frozen=True)
class Installer:
    paths: Paths
    rauc: Rauc = field(default_factory=Rauc)
    units: Units = field(default_factory=SystemdUnits)
    clock: WallClock = time
    report: Report = lambda state: None

    def install(self, wanted: Wanted) -> UpdateState:
        """The state, INSTALLED. Raises HearthError; the reason is then in the state too."""
        before = load_update(self.paths)
        check_slots(slots.status(self.paths), before)
        is_ours = before.stage is Stage.INSTALLING and before.source == wanted.source
        if self._is_running(is_ours) or (is_ours and self._is_done(before)):
            logger.info("going on with the installation of %s", before.version)
            return self._follow(before)
        try:
            info = self._examine(wanted)
        except HearthError as error:
            self._refuse(before, wanted, error)
            raise
        state = self._begin(wanted, info)
        prepare_indexes(self.paths, state.from_slot, state.slot)
        try:
            self.rauc.install(wanted.source, state.transaction)
        except HearthError as error:
            self._give_up(state, error)
            raise
        return self._follow(state)

    def _is_running(self, is_ours: bool) -> bool:
        """Whether RAUC is still at what somebody who was killed had begun."""
        if not self.rauc.look().is_installing:
            return False
        if not is_ours:
            message = "RAUC is installing something that was not started from here"
            raise ConflictError(message, hint="wait for its end: rauc status")
        return True

    def _is_done(self, state: UpdateState) -> bool:
        """Whether RAUC had come to its end, and only the word of it was lost."""
        record = self.rauc.slot(state.slot)
        found = (record.transaction, record.status, record.manifest)
        return found == (state.transaction, "ok", state.manifest)

    def _examine(self, wanted: Wanted) -> BundleInfo:
        """Everything that can be known before the first block is written."""
        check_space(self.paths.data)
        info = self.rauc.inspect(wanted.source)
        check_facts(info.facts, read_machine(self.paths))
        if wanted.version and info.facts.version != wanted.version:
            message = f"the server hands out version {info.facts.version} as {wanted.version}"
            raise ImageError(message, hint="its publisher has to mend that")
        return info

    def _begin(self, wanted: Wanted, info: BundleInfo) -> UpdateState:
        booted = slots.booted_slot(self.paths)
        state = UpdateState(
            stage=Stage.INSTALLING,
            version=info.facts.version,
            slot=slots.other_slot(booted),
            from_version=read_machine(self.paths).version,
            from_slot=booted,
            since=self.clock.time(),
            source=wanted.source,
            transaction=str(uuid.uuid4()),
            manifest=info.manifest,
            by_hand=wanted.by_hand,
        )
        self._tell(state)
        return state

    def _follow(self, state: UpdateState) -> UpdateState:
        """Until RAUC has ended, one way or the other."""
        try:
            last = self._watch(state)
            self._check_result(state, last)
        except HearthError as error:
            self._give_up(state, error)
            raise
        done = replace(state, stage=Stage.INSTALLED, percent=100, message="", error="",
                       since=self.clock.time())  # fmt: skip
        self._tell(done)
        return done

    def _watch(self, state: UpdateState) -> Progress:
        shown, since = state, self.clock.monotonic()
        while True:
            seen = self.rauc.look()
            if not seen.is_installing:
                return seen
            now = replace(state, percent=seen.percent, message=seen.message)
            if now != shown:
                shown, since = now, self.clock.monotonic()
                self._tell_progress(now)
            elif self.clock.monotonic() - since > STALL_SECONDS:
                self.units.stop(UNIT)
                minutes = STALL_SECONDS / 60
                message = f"the installation of {state.version} stood still for {minutes:.0f} min"
                raise DeadlineError(message, hint=AGAIN)
            self.clock.sleep(POLL_SECONDS)

    def _check_result(self, state: UpdateState, last: Progress) -> None:
        """Believe the slot's record, and only for this transaction and this very bundle."""
        record = self.rauc.slot(state.slot)
        if record.transaction != state.transaction or record.status != "ok":
            if last.error:
                raise explain(last.error)
            raise StateError("RAUC has stopped in the middle of the installation", hint=AGAIN)
        if record.manifest != state.manifest:
            message = f"the server handed out another bundle ({record.version}) than it had shown"
            raise ImageError(message, hint="its publisher has to mend that, or is not the one")

    def _refuse(self, before: UpdateState, wanted: Wanted, error: HearthError) -> None:
        """Nothing was written: a version that waits for its start still does."""
        if before.stage is Stage.INSTALLED:
            self._tell(replace(before, error=error.message))
            return
        version = wanted.version or (before.version if before.source == wanted.source else "")
        self._give_up(
            UpdateState(version=version, source=wanted.source, by_hand=wanted.by_hand), error
        )

    def _give_up(self, state: UpdateState, error: HearthError) -> None:
        """RAUC took all attempts from the slot before the first block: nothing starts from it."""
        since = self.clock.time()
        idle = replace(state, stage=Stage.IDLE, percent=0, message="", since=since)
        self._tell(replace(idle, error=error.message))

    def _tell_progress(self, state: UpdateState) -> None:
        """A card that filled up meanwhile is no reason to lose sight of RAUC."""
        try:
            self._tell(state)
        except OSError as error:
            logger.warning("the progress cannot be written: %s", error)

    def _tell(self, state: UpdateState) -> None:
        save_update(self.paths, state)
        self.report(state)


def require_installed(paths: Paths, state: UpdateState, rauc: Rauc) -> None:
    """Raises StateError when nothing is installed, ImageError when it is something else."""
    if state.stage is not Stage.INSTALLED:
        raise StateError("no new version is installed", hint="hearthctl update install")
    record = rauc.slot(state.slot)
    if (record.status, record.manifest) != ("ok", state.manifest):
        message = f"slot {state.slot} no longer holds version {state.version}"
        raise ImageError(message, hint="install it again: hearthctl update install")
