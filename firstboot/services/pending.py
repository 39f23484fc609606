"""What applies remember: the rendering that was accepted, and reloads and restarts still owed.

The latter are kept on the tmpfs: after a reboot every program reads its files anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.paths import Paths
from services.render import Action, Template

Due = Sequence[tuple[str, Action]]


def load_pending(paths: Paths) -> list[tuple[str, Action]]:
    try:
        lines = _file(paths).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [(unit, Action(action)) for action, unit in (line.split() for line in lines)]


def save_pending(paths: Paths, due: Due) -> None:
    if due:
        paths.runtime.mkdir(parents=True, exist_ok=True)
        write_atomic(_file(paths), "".join(f"{action} {unit}\n" for unit, action in due))
    else:
        _file(paths).unlink(missing_ok=True)


def find_due(paths: Paths, changed: Sequence[Template]) -> list[tuple[str, Action]]:
    """What an earlier run still owes, then the units of changed files, as the templates order."""
    return merge(load_pending(paths), [(entry.unit, entry.action) for entry in changed])


def merge(earlier: Due, due: Due) -> list[tuple[str, Action]]:
    """Each unit once, in the order in which it came; a restart outweighs a reload."""
    found: dict[str, Action] = {}
    for unit, action in (*earlier, *due):
        if found.get(unit) is not Action.RESTART:
            found[unit] = action
    return list(found.items())


def _file(paths: Paths) -> Path:
    return paths.runtime / "pending"


def load_marks(paths: Paths) -> dict[str, str]:
    """Of each program, the fingerprint of its files that were accepted last (render.fingerprints).

    Empty for what is damaged: checking once more costs a minute.
    """
    try:
        lines = _mark_file(paths).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split(" ", 1) for line in lines if " " in line)


def save_marks(paths: Paths, marks: Mapping[str, str]) -> None:
    write_atomic(_mark_file(paths), "".join(f"{place} {mark}\n" for place, mark in marks.items()))


def _mark_file(paths: Paths) -> Path:
    """On the data partition: an accepted configuration stays accepted over reboots."""
    return paths.hearth / "rendered.hash"
