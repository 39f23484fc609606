"""Page "federation": the check is started by the owner, done by a unit, and its result shown."""

from __future__ import annotations

import time

from appliance.aftercare import GetFederation, StartFederationCheck
from appliance.answers import CheckState, Done, Federation, Judgement, Looked, Measured
from appliance.deadline import Clock
from appliance.errors import StateError
from appliance.paths import Paths
from appliance.settings import Way, load_settings
from appliance.state import Phase, load_state
from firstboot.checks import LOST
from firstboot.host import Host
from firstboot.watch import ResultWatch
from services.federation.result import RESULT, FederationResult
from services.results import load_result

# The tester outside waits for each of our addresses, and our own look takes a minute at worst.
CHECK_SECONDS = 240.0


class FederationWatch:
    def __init__(self, paths: Paths, host: Host, *, clock: Clock = time) -> None:
        self._paths = paths
        self._host = host
        self._watch = ResultWatch(
            paths.results / f"{RESULT}.json", clock=clock, seconds=CHECK_SECONDS
        )

    def answer(self, request: GetFederation | StartFederationCheck) -> Federation | Done:
        """Raises StateError before there is a server, and where no other is to reach it."""
        if isinstance(request, GetFederation):
            return self.show()
        self.start()
        return Done()

    def start(self) -> None:
        """Nothing happens while one is running."""
        if not self._is_wanted():
            raise StateError("No other server is meant to reach this one: nothing to check.")
        if self._watch.state() is not CheckState.RUNNING:
            self._watch.begin()
            self._host.start_federation_check()

    def show(self) -> Federation:
        """What was found last, also while a new check is running."""
        if not self._is_wanted():
            return Federation()
        state = self._watch.state()
        result = load_result(self._paths, RESULT, FederationResult)
        if state is CheckState.LOST:
            return Federation(is_wanted=True, found=LOST)
        if result is None:
            judgement = Judgement.UNSURE
            return Federation(is_wanted=True, found=Measured(state=state, judgement=judgement))
        found = Measured(
            state=state,
            judgement=result.judgement,
            kind=result.cause.value,
            headline=result.sentence,
            next_step=result.next_step,
        )
        parts = tuple(
            Looked(title=part.title, judgement=part.judgement, detail=part.detail)
            for part in result.parts
        )
        return Federation(
            is_wanted=True, found=found, at=result.at, asked=result.asked, parts=parts
        )

    def _is_wanted(self) -> bool:
        if load_state(self._paths.state).phase is not Phase.READY:
            raise StateError("Setup is not over yet.", hint="look at its progress")
        settings = load_settings(self._paths.settings)
        public = settings.public if settings else None
        return public is not None and public.way is not Way.HOME
