"""Verbs for units only: the verdict on a new version, what became of it, the attempts of a slot."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from appliance.log import logger
from appliance.paths import Paths


def add_verbs(add: Callable[..., argparse.ArgumentParser]) -> None:
    add("verdict", _verdict)
    add("settle", _settle)
    add("slot-good", _slot_good)
    add("rescue-end", _rescue_end)


def _verdict(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.verdict import run_verdict

    return run_verdict(paths)


def _settle(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.host import SystemHost
    from firstboot.settle import settle

    settle(paths, reboot=SystemHost().reboot)
    return 0


def _rescue_end(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.host import SystemHost
    from firstboot.rescue import end_once

    if end_once(paths):
        SystemHost().reboot()
    return 0


def _slot_good(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.rescue import note_recovery
    from firstboot.settle import end_stale_trial
    from services.slots import mark_good

    if end_stale_trial(paths):
        logger.info("a trial that nobody knows of any more has been ended")
    if mark_good(paths):
        logger.info("the booted slot has all its attempts again")
    note_recovery(paths)
    return 0
