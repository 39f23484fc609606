"""``hearthctl update status``: measured and read, never what was only planned."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from appliance.paths import Paths
from appliance.settings import load_settings
from appliance.tables import to_table
from appliance.update import Outcome, Stage, UpdateState
from firstboot.update import load_memory
from firstboot.update_offer import find_source, find_wishes, offered_by_channel
from services import slots
from services.results import load_result
from services.update.channel import RESULT, CheckResult
from services.update.lock import is_update_running
from services.update.machine import read_machine
from services.update.state import load_history, load_update
from services.update.stick import RESULT as STICK
from services.update.stick import StickResult, find_stick_offer

WORDS = {
    Stage.IDLE: "none under way",
    Stage.INSTALLING: "version {version} is being installed into slot {slot}: {percent} %",
    Stage.INSTALLED: "version {version} is installed in slot {slot} and waits for its restart",
    Stage.TRIAL: "version {version} in slot {slot} is on trial",
}
SHOWN = 5


def show_status(paths: Paths, now: float, *, as_json: bool) -> int:
    table = gather(paths, now)
    if as_json:
        sys.stdout.write(json.dumps(table, indent=1) + "\n")
        return 0
    width = 10
    for label, value in _lines(paths, table, load_update(paths), load_history(paths)):
        sys.stdout.write(f"{label + ':':{width}} {value}\n")
    return 0


def gather(paths: Paths, now: float) -> dict[str, Any]:
    """``now`` in seconds since the epoch, as all times here."""
    found, memory = load_result(paths, RESULT, CheckResult), load_memory(paths)
    source, offer, stick = find_source(paths), offered_by_channel(paths), find_stick_offer(paths)
    last_stick = load_result(paths, STICK, StickResult)
    return {
        "version": read_machine(paths).version,
        "slot": to_table(slots.status(paths)),
        "update": to_table(load_update(paths)),
        "busy": is_update_running(paths),
        "channel": source.index_url if source else "",
        "checked_at": found.checked_at if found else 0.0,
        "check_error": found.error if found else "",
        "passed_over": [to_table(one) for one in found.passed_over] if found else [],
        "offered": offer.version if offer else "",
        "offered_by_stick": stick.version if stick else "",
        "stick_trouble": last_stick.trouble if last_stick else "",
        "stick_hint": last_stick.hint if last_stick else "",
        "paused_until": memory.paused_until if memory.paused_until > now else 0.0,
        "why": memory.why,
        "history": [to_table(one) for one in load_history(paths)],
    }


def _lines(
    paths: Paths, table: dict[str, Any], state: UpdateState, history: tuple[Outcome, ...]
) -> list[tuple[str, str]]:
    settings = load_settings(paths.settings)
    wishes = find_wishes(settings)
    zone = settings.device.timezone if settings else "Etc/UTC"
    how = f"by itself, restarts {wishes.window}" if wishes.automatic else "when you say so"
    lines = [
        ("version", f"{table['version']} in slot {table['slot']['booted']}"),
        ("update", WORDS[state.stage].format(**to_table(state))),
        ("channel", f"{table['channel'] or 'none: from a file or a stick'}"),
        ("checked", _when(table["checked_at"], zone)),
        ("installs", how),
    ]
    if table["offered"]:
        lines.append(("offered", f"version {table['offered']}"))
    if table["offered_by_stick"]:
        lines.append(("stick", f"version {table['offered_by_stick']}"))
    if table["stick_trouble"]:
        lines.append(("stick", f"{table['stick_trouble']}; {table['stick_hint']}"))
    if table["paused_until"]:
        lines.append(("paused", f"until {_when(table['paused_until'], zone)}"))
    lines += [("trouble", text) for text in (state.error, table["check_error"]) if text]
    if table["why"]:
        lines.append(("last", table["why"]))
    return [*lines, *(("history", _tell(one, zone)) for one in history[:SHOWN])]


def _tell(one: Outcome, zone: str) -> str:
    because = f": {one.reason}" if one.reason else ""
    database = f"; the database was {one.database}" if one.database else ""
    return f"{_when(one.at, zone)}, {one.version} {one.result.value}{because}{database}"


def _when(moment: float, zone: str) -> str:
    if not moment:
        return "never"
    try:
        local = datetime.fromtimestamp(moment, ZoneInfo(zone))
    except (KeyError, ValueError, OSError, OverflowError):  # a zone or a time that there is not
        return f"{moment:.0f} seconds after 1970"
    return f"{local:%Y-%m-%d %H:%M}"
