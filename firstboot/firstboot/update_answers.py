"""Page "updates": what the agent tells of updates, and what it has done about them by units.

Loaded when that page is first asked for: the agent stays small until then.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.answers import Done
from appliance.errors import ConfigError, ConflictError, FieldError, StateError
from appliance.paths import Paths
from appliance.release import Release
from appliance.settings import Settings, Updates, load_settings, save_toml
from appliance.update import Outcome, Result, Stage, UpdateState
from appliance.updating import (
    GetUpdates,
    InstallUpdate,
    LookForUpdate,
    Offer,
    RestartIntoUpdate,
    SaveUpdating,
    Updating,
    UpdatingRequest,
)
from firstboot.host import Host
from firstboot.update_offer import find_source, is_on_stick, newest_offer
from services import slots
from services.owners import find_owner
from services.results import load_result
from services.update.channel import RESULT as CHECK
from services.update.channel import CheckResult
from services.update.lock import is_update_running
from services.update.machine import read_machine
from services.update.state import load_history, load_update
from services.update.stick import RESULT as STICK
from services.update.stick import StickResult
from services.update.window import parse_window

READER = "hearth-ui"
SETTINGS_MODE = 0o640


def answer(request: UpdatingRequest, paths: Paths, host: Host) -> Updating | Done:
    """Raises StateError before there is a server, ConflictError while another act is going on."""
    settings = load_settings(paths.settings)
    if settings is None:
        raise StateError("Setup is not over yet.", hint="look at its progress")
    match request:
        case GetUpdates():
            return show(paths, settings.updates)
        case SaveUpdating():
            _save(paths, settings, request)
            return Done()
        case LookForUpdate():
            _require_idle(paths)
            host.look_for_update()
        case InstallUpdate():
            _require_idle(paths)
            _require_offer(paths, request.version)
            host.install_update()
        case RestartIntoUpdate():
            _require_idle(paths)
            if load_update(paths).stage is not Stage.INSTALLED:
                raise StateError("No new version is installed.", hint="load the page again")
            host.restart_into_update()
    return Done()


def show(paths: Paths, wishes: Updates) -> Updating:
    state, found = load_update(paths), load_result(paths, CHECK, CheckResult)
    history = load_history(paths)
    trouble, next_step = _trouble(
        state, found, next(iter(history), None), automatic=wishes.automatic
    )
    on_stick = load_result(paths, STICK, StickResult)
    return Updating(
        version=read_machine(paths).version,
        slot=slots.booted_slot(paths),
        stage=state.stage,
        target=state.version,
        percent=state.percent,
        message=state.message,
        offer=_offer(paths, found, state),
        has_channel=find_source(paths) is not None,
        checked_at=found.checked_at if found else 0.0,
        trouble=trouble,
        next_step=next_step,
        stick_trouble=on_stick.trouble if on_stick else "",
        stick_hint=on_stick.hint if on_stick else "",
        is_busy=is_update_running(paths),
        automatic=wishes.automatic,
        channel=wishes.channel,
        window=wishes.window,
        history=history,
    )


def _offer(paths: Paths, found: CheckResult | None, state: UpdateState) -> Offer | None:
    """The newest there is, unless it is being installed or waits for the restart already."""
    wanted = newest_offer(paths)
    if wanted is None or (state.stage is not Stage.IDLE and state.version == wanted.version):
        return None
    if is_on_stick(paths, wanted):
        return Offer(version=wanted.version, from_stick=True)
    return _describe(found.offer) if found and found.offer else None


def _describe(release: Release) -> Offer:
    return Offer(
        version=release.facts.version,
        notes=release.notes,
        published=release.published,
        size=release.bundle.size,
    )


def _trouble(
    state: UpdateState,
    found: CheckResult | None,
    newest: Outcome | None,
    *,
    automatic: bool,
) -> tuple[str, str]:
    """The installation's counts for more than the channel's: it was further.

    After a roll-back the state names no version any more; the history's ``newest`` line does.
    """
    if state.error:
        if newest is not None and newest.result is Result.ROLLED_BACK and not state.version:
            if newest.outside and automatic:
                return state.error, "the fault was not its own, so it may be tried again in a day"
            return state.error, "this version is not installed again by itself; a newer one is"
        if automatic or state.by_hand:
            return state.error, "it is tried again by itself"
        return state.error, "it is not tried again by itself: you want to be asked"
    if found is not None and found.error:
        return found.error, found.hint
    return "", ""


def _require_idle(paths: Paths) -> None:
    if is_update_running(paths):
        message = "An update is under way already."
        raise ConflictError(message, hint="the page shows how far it is")


def _require_offer(paths: Paths, version: str) -> None:
    wanted = newest_offer(paths)
    if wanted is None or wanted.version != version:
        message = f"Version {version} is not on offer any more."
        raise StateError(message, hint="load the page again")


def _save(paths: Paths, settings: Settings, request: SaveUpdating) -> None:
    try:
        parse_window(request.window)
    except ConfigError as error:
        raise FieldError("window", error.message, hint=error.hint) from error
    wishes = replace(
        settings.updates,
        automatic=request.automatic,
        channel=request.channel,
        window=request.window,
    )
    owner = find_owner(paths, "root", READER)
    save_toml(replace(settings, updates=wishes), paths.settings, mode=SETTINGS_MODE, owner=owner)
