"""The wizard's answers and the start of provisioning; the caller holds the agent's lock."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import assert_never

from appliance.bootreport import DataCondition, load_boot_report
from appliance.deadline import Clock
from appliance.errors import ConfigError, HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.protocol import (
    Apply,
    Draft,
    PassNetwork,
    SaveAddress,
    SaveHomeserver,
    SaveOwner,
    SaveServer,
    SaveTunnel,
    SaveWay,
    StartAddressCheck,
    StartNetworkCheck,
    StartTunnelCheck,
)
from appliance.settings import save_toml
from appliance.state import Phase, State, load_state, save_state
from firstboot.checks import Checks
from firstboot.door import ui_owner
from firstboot.draft import DraftBook
from firstboot.host import Host
from firstboot.preseed import Checked
from firstboot.stored import public_settings

Save = SaveOwner | PassNetwork | SaveServer | SaveAddress | SaveWay | SaveTunnel | SaveHomeserver
Check = StartNetworkCheck | StartAddressCheck | StartTunnelCheck


class Setup:
    """Phases from UNCLAIMED to APPLYING; provisioning itself records the rest."""

    def __init__(self, paths: Paths, host: Host, *, clock: Clock = time) -> None:
        self.drafts = DraftBook(paths)
        self._checks = Checks(paths, host, clock=clock)
        self._paths = paths
        self._host = host
        self._owner = ui_owner()

    @property
    def phase(self) -> Phase:
        return load_state(self._paths.state).phase

    def ensure_state(self) -> None:
        """A state; where the file is lost or damaged, the one that the other files prove.

        Nobody may be invited to set up anew over a homeserver that has been in use.
        """
        file = self._paths.state
        try:
            if file.exists():
                load_state(file)
                return
        except (ConfigError, OSError) as error:
            logger.warning("the state is made out anew: %s", error)
            file.replace(file.with_name(f"{file.name}.damaged"))
        self._save(State(phase=self._proven_phase()))

    def _proven_phase(self) -> Phase:
        """Settings are written when provisioning starts; the draft goes when it is over."""
        if not self._paths.settings.exists():
            return Phase.UNCLAIMED
        return Phase.APPLYING if self._paths.draft.exists() else Phase.READY

    def begin(self) -> None:
        """Somebody has claimed the box."""
        state = load_state(self._paths.state)
        if state.phase is Phase.UNCLAIMED:
            self._save(replace(state, phase=Phase.SETUP))

    def show(self, preseed: Checked) -> Draft:
        if self.phase is Phase.READY:
            raise StateError("Setup is over.", hint="look at the status page")
        draft = self._with_checks(self.drafts.show())
        return replace(draft, timezone=draft.timezone or preseed.timezone or "")

    def save(self, request: Save) -> Draft:
        self._require_open()
        return self._with_checks(self._save_answers(request))

    def start_check(self, request: Check) -> None:
        self._require_open()
        match request:
            case StartNetworkCheck():
                self._checks.start_network()
            case StartTunnelCheck():
                self.require_tunnel()
                self._checks.start_tunnel()
            case _:
                if not self.drafts.load().has_address:
                    message = "There is no answer to check yet."
                    raise StateError(message, hint="choose a provider first")
                self._checks.start_address()

    def require_tunnel(self) -> None:
        self._require_open()
        if self.drafts.load().tunnel is None:
            message = "There is no rented server yet."
            raise StateError(message, hint="say on page 'tunnel' which one it is")

    def _with_checks(self, draft: Draft) -> Draft:
        stored = self.drafts.load()
        draft = replace(
            draft,
            network=self._checks.network(),
            address=self._checks.address(stored.address_number),
            tunnel=self._checks.tunnel(stored.tunnel_number),
        )
        if not draft.names:
            return draft
        from firstboot.way_answers import offer_ways

        public = public_settings(stored)
        assert public is not None
        offers = offer_ways(self._paths, public, stored.server_name, draft.network)
        is_possible = not any(one.obstacle for one in offers if one.way is draft.way)
        return replace(draft, ways=offers, way_chosen=draft.way_chosen and is_possible)

    def _save_answers(self, request: Save) -> Draft:
        match request:
            case SaveOwner():
                return self.drafts.save_owner(
                    request.revision, request.name, request.timezone, request.password
                )
            case PassNetwork():
                return self.drafts.pass_network()
            case SaveAddress():
                return self.drafts.save_address(request)
            case SaveServer():
                return self.drafts.save_server(request.revision, request.name, request.reach)
            case SaveWay():
                return self.drafts.save_way(request.revision, request.way, request.port)
            case SaveTunnel():
                return self.drafts.save_tunnel(request.revision, request.server, request.port)
            case SaveHomeserver():
                return self.drafts.save_homeserver(request.revision, request.software)
            case _:
                assert_never(request)

    def apply(self, request: Apply, preseed: Checked) -> None:
        """Start provisioning, go on with it, or try again after a failure."""
        self._require_data()
        state = load_state(self._paths.state)
        match state.phase:
            case Phase.READY:
                return
            case Phase.UNCLAIMED:
                raise StateError("This Hearth is not claimed yet.", hint="use the claim code")
            case Phase.SETUP:
                self.drafts.check_complete(request.revision)
                self.drafts.drop_unused()
                self._save(replace(state, phase=Phase.APPLYING))
            case Phase.FAILED:
                # Nothing can have changed since the first run, and the password may be gone: the
                # last step forgets it.
                self._save(replace(state, phase=Phase.APPLYING))
            case Phase.APPLYING:
                pass
            case _:
                assert_never(state.phase)
        try:
            self.start_provisioning(preseed)
        except HearthError:
            self._save(state)
            raise

    def start_provisioning(self, preseed: Checked) -> None:
        """Settings from the draft, then the unit.

        The phase is on the card before the settings: a cut in between is made good by the next
        start, and settings never lie there without a setup that goes on.
        """
        if self._paths.draft.exists():
            settings = self.drafts.settings(ssh_keys=preseed.ssh_keys or ())
            save_toml(settings, self._paths.settings, mode=0o640, owner=self._owner)
        self._host.start_provisioning()

    def _require_open(self) -> None:
        self._require_data()
        if self.phase is not Phase.SETUP:
            message = "Setup has started; the answers can no longer be changed."
            raise StateError(message, hint="look at its progress")

    def _save(self, state: State) -> None:
        save_state(state, self._paths.state, owner=self._owner)

    def _require_data(self) -> None:
        report = load_boot_report(self._paths.boot_report)
        if report.data is not DataCondition.OK:
            reason = report.data_detail or report.data.value
            message = f"There is no place to keep anything: {reason}."
            raise StateError(message, hint="see the first page for what can be done")
