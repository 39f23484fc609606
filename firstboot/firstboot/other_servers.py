"""The verbs about other servers: ``hearthctl federation`` and ``hearthctl wakeup``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from appliance.paths import Paths
from firstboot.privilege import require_root

JSON_HELP = "print JSON"


def add_verbs(add: Callable[..., argparse.ArgumentParser]) -> None:
    federation = add("federation", _federation, "Look whether other servers can talk to this one.")
    federation.add_argument(
        "act",
        choices=["check"],
        help="check: as other servers would, and from outside by the Matrix project's public "
        "tester, which so learns this server's name; exit code 1 if they cannot",
    )
    federation.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="another server, looked at from here"
    )
    federation.add_argument("--save", action="store_true", help="as the result that pages show")
    federation.add_argument("--due", action="store_true", help="only if it is time to look again")
    federation.add_argument("--json", action="store_true", help=JSON_HELP)
    wakeup = add("wakeup", _wakeup, "Tell the servers that gave up on this one that it is back.")
    wakeup.add_argument("--dry-run", action="store_true", help="only show whom and whether")
    wakeup.add_argument(
        "--due", action="store_true", help="only after a start or with a new address"
    )
    wakeup.add_argument("--json", action="store_true", help=JSON_HELP)


def _federation(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.federation import run_check

    if not options.name or options.save:
        require_root()
    return run_check(
        paths,
        time.time(),
        options.name,
        as_json=options.json,
        save=options.save,
        due=options.due,
    )


def _wakeup(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.wakeup import run_wakeup

    require_root()
    return run_wakeup(paths, due=options.due, dry_run=options.dry_run, as_json=options.json)
