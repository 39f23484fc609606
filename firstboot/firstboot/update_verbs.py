"""``hearthctl update``: what there is, and each act of the update job by hand."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.errors import ConflictError, StateError, UsageError
from appliance.paths import Paths
from appliance.tables import to_table
from appliance.update import Stage, UpdateState
from firstboot.privilege import require_root

if TYPE_CHECKING:
    from firstboot.update import Desk
    from services.update.install import Wanted

JOBS = ("hearth-update.service", "hearth-update-install.service", "rauc.service")
RESTART_UNIT = "hearth-update-restart.service"
DAY = 24 * 3600.0
PAUSE_DAYS = 30
WAIT_SECONDS = 60.0
ACTS = ("status", "check", "install", "reboot", "cancel", "pause", "resume", "adopt", "run")
EPILOG = """\
acts:
  status   what runs, what is offered and how the last updates ended (also without an act)
  check    ask the channel now, without waiting for a staged rollout
  install  what is offered, or the bundle of --from, into the other slot
  reboot   try what is installed now: it stays if all is well, or is undone by itself
  cancel   forget what is, or is being, installed; that version does not come again by itself
  pause    do nothing by itself for --days; resume ends that
  adopt    take over what a fleet's server had RAUC install
"""


def add_verbs(add: Callable[..., argparse.ArgumentParser]) -> None:
    update = add("update", _update, "Show and make updates, which otherwise make themselves.")
    update.formatter_class = argparse.RawDescriptionHelpFormatter
    update.epilog = EPILOG
    update.add_argument("act", nargs="?", choices=ACTS, default="status", metavar="ACT")
    update.add_argument(
        "--from", dest="file", type=Path, metavar="FILE", help="install: a bundle in this file"
    )
    update.add_argument(
        "--again", action="store_true", help="install: also what was tried here and did not work"
    )
    update.add_argument(
        "--days", type=int, default=PAUSE_DAYS, metavar="N", help=f"pause: {PAUSE_DAYS} if not said"
    )
    update.add_argument("--dry-run", action="store_true", help="only show what would be done")
    update.add_argument("--json", action="store_true", help="print JSON")
    add("update-stick", _stick).add_argument("device", type=Path)


def _update(paths: Paths, options: argparse.Namespace) -> int:
    if options.file and options.act != "install":
        raise UsageError("--from goes with: hearthctl update install")
    if options.days < 1:
        raise UsageError("a pause lasts a day at least")
    if options.act != "status":
        require_root()
    verbs: dict[str, Callable[[Paths, argparse.Namespace], int]] = {
        "status": _status,
        "check": _check,
        "install": _install,
        "reboot": _reboot,
        "cancel": _cancel,
        "pause": _pause,
        "resume": _pause,
        "adopt": _adopt,
        "run": _run,
    }
    return verbs[options.act](paths, options)


def _status(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.update_status import show_status

    return show_status(paths, time.time(), as_json=options.json)


def _run(paths: Paths, options: argparse.Namespace) -> int:
    """The timer's. Whoever else is at it does its work."""
    from appliance.log import logger
    from firstboot.update import Desk, find_facts, load_memory, run_job
    from firstboot.update_plan import plan
    from services.units import SystemdUnits

    if options.dry_run:
        memory, now = load_memory(paths), time.time()
        step = plan(memory, find_facts(paths, memory, now), now)
        _tell(options, step.why, act=step.act.value, why=step.why)
        return 0

    def hand_over() -> None:
        SystemdUnits().start(RESTART_UNIT, wait=False)

    try:
        run_job(Desk(paths=paths, hand_over=hand_over))
    except ConflictError as error:
        logger.info("%s", error.message)
    return 0


def _check(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.update import Desk, check
    from firstboot.update_offer import find_source
    from services.update.lock import update_lock

    if options.dry_run:
        source = find_source(paths)
        address = source.index_url if source else ""
        _tell(options, f"would ask {address or 'nobody: there is no channel'}", url=address)
        return 0
    with update_lock(paths):
        result = check(Desk(paths=paths), wants_it_now=True)
    if options.json:
        sys.stdout.write(json.dumps(to_table(result), indent=1) + "\n")
    elif result.error:
        sys.stderr.write(f"{result.error}\n hint: {result.hint}\n" if result.hint
                         else f"{result.error}\n")  # fmt: skip
    else:
        offer = f"Version {result.offer.facts.version}" if result.offer else "Nothing new"
        reasons = "".join(f"\n{one.reason}." for one in result.passed_over)
        sys.stdout.write(f"{offer} is on offer.{reasons}\n")
    return 1 if result.error else 0


def _install(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.update import Desk, install
    from services.update.lock import update_lock

    show = (lambda state: None) if options.json else _show_progress
    desk = Desk(paths=paths, report=show)
    with update_lock(paths):
        wanted = _find_by_hand(desk, options)
        if options.dry_run:
            _tell(options, f"would install version {wanted.version} from {wanted.source}",
                  version=wanted.version, source=wanted.source)  # fmt: skip
            return 0
        state = install(desk, wanted)
    text = f"Version {state.version} is installed. Try it now with: hearthctl update reboot"
    _tell(options, text, **to_table(state))
    return 0


def _find_by_hand(desk: Desk, options: argparse.Namespace) -> Wanted:
    """A named file, what was begun, or the newest of what stick and channel offer."""
    from firstboot import update
    from firstboot.update_offer import find_source, newest_offer
    from services.update import stick
    from services.update.install import Wanted
    from services.update.state import load_update

    copy, state = str(stick.copy_of(desk.paths)), load_update(desk.paths)
    if options.file:
        found = stick.import_file(desk.paths, options.file.resolve(), desk.rauc, time.time())
        return Wanted(source=copy, version=found.version, by_hand=True)
    if state.stage is Stage.INSTALLING:
        return Wanted(source=state.source, version=state.version, by_hand=True)
    passed_over = ""
    if find_source(desk.paths) is not None:
        result = update.check(desk, wants_it_now=True, again=options.again)
        passed_over = result.error or "".join(f"{one.reason}. " for one in result.passed_over)
    wanted = newest_offer(desk.paths)
    if wanted is None:
        message = passed_over.strip() or "no newer version is on offer"
        raise StateError(message, hint="--again also takes what did not work before; --from a file")
    return wanted


def _reboot(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.update import Desk, restart
    from services.update.install import require_installed
    from services.update.lock import update_lock
    from services.update.rauc import Rauc
    from services.update.state import load_update

    if options.dry_run:
        state = load_update(paths)
        require_installed(paths, state, Rauc())
        _tell(options, f"would restart into version {state.version} in slot {state.slot}",
              version=state.version, slot=state.slot)  # fmt: skip
        return 0
    with update_lock(paths):
        state = restart(Desk(paths=paths))
    _tell(options, f"Restarting into version {state.version}.", **to_table(state))
    return 0


def _cancel(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.update import RESULT, load_memory
    from services.results import save_result
    from services.units import SystemdUnits
    from services.update.lock import update_lock
    from services.update.reboot import cancel
    from services.update.state import load_update
    from services.update.stick import forget

    state = load_update(paths)
    if options.dry_run:
        _tell(options, f"would forget version {state.version or 'of none'}", version=state.version)
        return 0
    units = SystemdUnits()
    if state.stage is Stage.INSTALLING:
        for unit in JOBS:
            units.stop(unit)
        _wait_for_lock(paths)
    with update_lock(paths):
        cancel(paths, units)
        forget(paths)
        memory = replace(load_memory(paths), cancelled=state.version)
        save_result(paths, RESULT, memory)
    _tell(options, f"Version {state.version} is forgotten.", version=state.version)
    return 0


def _wait_for_lock(paths: Paths) -> None:
    """Whoever installs at a terminal notices within a second or two that RAUC has gone."""
    from appliance.deadline import wait_until
    from services.update.lock import is_update_running

    wait_until(lambda: not is_update_running(paths), seconds=WAIT_SECONDS, what="the job's end")


def _adopt(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.update_adopt import adopt

    state = adopt(paths, dry_run=options.dry_run)
    if state is None:
        _tell(options, "RAUC has installed nothing that waits.")
    else:
        _tell(options, f"Version {state.version} waits for its hour.", **to_table(state))
    return 0


def _pause(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.update import RESULT, load_memory
    from services.results import save_result
    from services.update.lock import update_lock

    seconds = options.days * DAY if options.act == "pause" else 0.0
    until = time.time() + seconds if seconds else 0.0
    text = f"Paused for {options.days} days." if until else "Updates go on."
    if not options.dry_run:
        with update_lock(paths):
            memory = load_memory(paths)
            memory = replace(memory, paused_until=until, paused_seconds=seconds)
            save_result(paths, RESULT, memory)
    _tell(options, text, paused_until=until)
    return 0


def _stick(paths: Paths, options: argparse.Namespace) -> int:
    """udev's, for every FAT file system on USB: exit code 0 also where nothing is on it."""
    from appliance.log import logger
    from services.update.rauc import Rauc
    from services.update.stick import look_at_stick

    require_root()
    found = look_at_stick(paths, options.device, Rauc(), time.time())
    if found is not None and not found.trouble:
        logger.info("version %s on the stick can be installed", found.version)
    return 0


def _show_progress(state: UpdateState) -> None:
    if state.stage is Stage.INSTALLING:
        sys.stderr.write(f"{state.percent:3} % {state.message}\n")
        sys.stderr.flush()


def _tell(options: argparse.Namespace, text: str, **table: object) -> None:
    sys.stdout.write(json.dumps(table, indent=1) + "\n" if options.json else f"{text}\n")
