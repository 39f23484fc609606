"""``hearthctl reset``: begin anew, see what was kept, bring it back; and the hourly tidying."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

from appliance.errors import UsageError
from appliance.fate import RESET_WORD
from appliance.paths import Paths
from firstboot.host import Host, SystemHost
from firstboot.privilege import require_root

QUESTION = f"Type the word {RESET_WORD!r} to go on: "
WARNING = (
    "Accounts, messages, pictures, keys and settings of this Hearth go, and other servers will\n"
    "not know the new one as the old.\n"
)
FINAL = "This cannot be undone.\n"
KEPT = "For a day of running they can be brought back with: hearthctl reset --bring-back\n"


def add_verbs(add: Callable[..., argparse.ArgumentParser]) -> None:
    reset = add("reset", _reset, "Make this Hearth like a new one: new claim code, no data.")
    reset.add_argument("--keep", action="store_true", help="keep the data for a day of running")
    what = reset.add_mutually_exclusive_group()
    what.add_argument("--bring-back", action="store_true", help="undo a reset that kept the data")
    what.add_argument("--status", action="store_true", help="what the last reset has kept")
    what.add_argument("--dry-run", action="store_true", help="only say what would happen")
    reset.add_argument(
        "--confirm", metavar="WORD", help=f"the word {RESET_WORD!r}; asked for without this"
    )
    reset.add_argument("--json", action="store_true", help="print JSON, with --status")
    add("tidy", _tidy)


def _reset(paths: Paths, options: argparse.Namespace) -> int:
    require_root()
    return reset(paths, SystemHost(), options)


def reset(paths: Paths, host: Host, options: argparse.Namespace) -> int:
    """With the host as an argument, for tests."""
    from firstboot.fate import check_reset_word, start_reset
    from services.reset import order_bring_back

    if options.status:
        return _show(paths, as_json=options.json)
    if options.bring_back:
        order = "bring back the data of before the last reset, in place of the present ones"
    else:
        sys.stdout.write(WARNING + (KEPT if options.keep else FINAL))
        order = "reset this Hearth"
    if options.dry_run:
        sys.stdout.write(f"Would {order} and restart.\n")
        return 0
    check_reset_word(_confirmation(options.confirm))
    if options.bring_back:
        order_bring_back(paths, origin="terminal", now=time.time())
        host.restart_into_reset()
    else:
        start_reset(paths, host, keep=options.keep, origin="terminal")
    sys.stdout.write("The appliance restarts.\n")
    return 0


def _confirmation(given: str | None) -> str:
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError("nothing was confirmed", hint=f"add: --confirm {RESET_WORD}")
    sys.stdout.write(QUESTION)
    sys.stdout.flush()
    return sys.stdin.readline()


def _show(paths: Paths, *, as_json: bool) -> int:
    from services.reset import has_kept, load_done, load_order

    done, order, is_kept = load_done(paths), load_order(paths), has_kept(paths)
    if as_json:
        table = {
            "ordered": order.act.value if order else "",
            "kept": is_kept,
            "hours": done.hours if done and is_kept else 0,
            "server_name": done.server_name if done and is_kept else "",
        }
        sys.stdout.write(json.dumps(table, indent=1) + "\n")
        return 0
    if order is not None:
        sys.stdout.write(f"Ordered for the next start: {order.act.value}.\n")
    if is_kept and done is not None:
        whose = f" of {done.server_name}" if done.server_name else ""
        sys.stdout.write(f"The data{whose} are kept for {done.hours} more hours of running.\n")
        sys.stdout.write("Bring them back with: hearthctl reset --bring-back\n")
    else:
        sys.stdout.write("No earlier data are kept.\n")
    return 0


def _tidy(paths: Paths, _options: argparse.Namespace) -> int:
    """Hourly. The job of updates does the same for the database's snapshots."""
    from appliance.bootreport import DataCondition, load_boot_report
    from services.reset import age

    if load_boot_report(paths.boot_report).data is DataCondition.OK:
        age(paths)
    return 0
