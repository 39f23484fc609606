"""``hearthctl snapshot``: the database of before an update, shown or gone back to."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from appliance.aftercare import RESTORE_WORD
from appliance.errors import StateError, UsageError
from appliance.layout import MIB
from appliance.paths import Paths
from appliance.settings import load_settings
from appliance.tables import to_table
from firstboot.privilege import require_root

UNIT = "hearth-database.service"
WORD = RESTORE_WORD


def add_verbs(add: Callable[..., argparse.ArgumentParser]) -> None:
    snapshot = add(
        "snapshot", _snapshot, "Show the database snapshot of before an update, or go back to it."
    )
    snapshot.add_argument(
        "act",
        nargs="?",
        default="show",
        choices=["show", "restore"],
        help="restore: for the version that left the database like this, when it cannot start"
        " on the present one; messages since then are lost",
    )
    snapshot.add_argument("--confirm", metavar="WORD", default="", help=f"the word {WORD!r}")
    snapshot.add_argument("--json", action="store_true", help="print JSON")
    add("database-prepare", _prepare)


def _snapshot(paths: Paths, options: argparse.Namespace) -> int:
    require_root()
    return _restore(paths, options.confirm) if options.act == "restore" else _show(paths, options)


def _show(paths: Paths, options: argparse.Namespace) -> int:
    from services.snapshots.record import load_snapshots

    found = load_snapshots(paths)
    if options.json:
        sys.stdout.write(json.dumps([to_table(one) for one in found], indent=1) + "\n")
        return 0
    for one in found:
        stays = (
            f"goes after {one.hours} more hours of running" if one.committed else "trial goes on"
        )
        line = f"{one.name}: as {one.identity} left it, {one.form.value}, {one.size // MIB} MiB"
        sys.stdout.write(f"{line}, {stays}\n")
    if not found:
        sys.stdout.write("There is no snapshot of the database.\n")
    return 0


def _restore(paths: Paths, word: str) -> int:
    """Only for the program that the snapshot belongs to: another one would change it at once."""
    from services.homeserver import find_homeserver
    from services.snapshots.prepare import SETTLED, identity_of
    from services.snapshots.record import load_snapshots, save_restoring
    from services.units import SystemdUnits

    settings = load_settings(paths.settings)
    found = load_snapshots(paths)
    if settings is None or not found:
        raise StateError("There is no snapshot of the database.")
    homeserver, snapshot = find_homeserver(settings.server.software), found[0]
    identity = identity_of(paths, homeserver)
    if snapshot.identity != identity:
        message = f"The snapshot belongs to {snapshot.identity}, and {identity} is installed here."
        raise StateError(message, hint="go back to that version first")
    if word != WORD:
        message = "Every message since the snapshot would be lost."
        raise UsageError(message, hint=f"if you want that, add: --confirm {WORD}")
    units = SystemdUnits()
    units.stop(homeserver.unit)
    save_restoring(paths, snapshot.name)
    (paths.runtime / SETTLED).unlink(missing_ok=True)
    units.restart(UNIT)
    units.start(homeserver.unit)
    return 0


def _prepare(paths: Paths, _options: argparse.Namespace) -> int:
    from services.snapshots.prepare import prepare_database
    from services.units import SystemdUnits

    prepare_database(paths, SystemdUnits())
    return 0
