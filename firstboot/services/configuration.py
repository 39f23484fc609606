"""What ``hearthctl apply`` does: settings to rendered configuration, checked, then put in place.

Render everything; let each program check its own part in a scratch directory; replace files only
when all were accepted; restart or reload only units whose files changed. At boot nothing is
checked: /etc is empty then, so there is nothing better to keep, and importing Synapse for its
parser would delay every start by minutes on a slow board.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.log import progress
from appliance.paths import Paths
from appliance.settings import Secrets
from services import database, proxy
from services.difference import show_difference
from services.limits import find_changed, set_limits
from services.owners import ensure_directory, find_owner
from services.pending import find_due, load_marks, load_pending, save_marks, save_pending
from services.plan import Plan, load_plan, render_plan
from services.render import (
    Action,
    Rendered,
    Template,
    fingerprints,
)
from services.sizing import choose_size
from services.timezone import ensure_timezone
from services.tunnel import layout as tunnel
from services.units import Units

SECRET_MODE = 0o640
# Directories under Paths.rendered in which every file comes from a template.
MANAGED = ("dendrite", "nginx", "postgresql", "synapse", "wireguard")


# Of a program: its name, its files, what has them checked.
Checker = tuple[str, Sequence[Template], Callable[[], None]]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One file under Paths.rendered that is new, different or gone.

    ``diff`` is for a dry run only, and hides secrets.
    """

    target: str
    what: str
    diff: str


@dataclass(frozen=True, kw_only=True)
class ApplyReport:
    """What was done, or with ``dry_run`` would be done."""

    dry_run: bool
    checked: bool
    changes: tuple[Change, ...]
    actions: tuple[str, ...]


def apply_configuration(
    paths: Paths, units: Units, *, boot: bool = False, dry_run: bool = False
) -> ApplyReport:
    """Bring /etc in line with the settings. Raises CheckerError, and then nothing has changed.

    One at a time: checking takes long, and an older rendering must not replace a newer one.
    """
    paths.runtime.mkdir(parents=True, exist_ok=True)
    with (paths.runtime / "apply.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _apply(paths, units, boot=boot, dry_run=dry_run)


def _apply(paths: Paths, units: Units, *, boot: bool, dry_run: bool) -> ApplyReport:
    plan = load_plan(paths)
    items = render_plan(paths, plan, config=paths.rendered)
    changes = find_changes(paths, items, plan.secrets, with_diff=dry_run)
    marks = fingerprints(plan.version, items)
    unchecked = frozenset() if boot else frozenset(dict(marks.items() - load_marks(paths).items()))
    if unchecked:
        check_plan(paths, plan, unchecked)
    changed = {change.target for change in changes}
    due = find_due(paths, [item.template for item in items if item.target in changed])
    if dry_run:
        actions = tuple(f"{act} {unit}" for unit, act in due)
        actions += tuple(f"limit {one.unit}" for one in find_changed(paths, plan.limits))
        return ApplyReport(dry_run=True, checked=bool(unchecked), changes=changes, actions=actions)
    if plan.settings is not None:
        ensure_timezone(paths, plan.settings.device.timezone)
    # Noted first: should a reload fail or we be killed, the next run still owes it.
    save_pending(paths, due)
    _replace(paths, items, changes)
    if unchecked:
        save_marks(paths, marks)
    actions = tuple(f"{act} {unit}" for unit, act in due if _act(units, unit, act))
    save_pending(paths, ())
    # Last, since it counts at once: less than before must not end what is to be restarted anyway.
    actions += set_limits(paths, units, plan.limits)
    return ApplyReport(dry_run=False, checked=bool(unchecked), changes=changes, actions=actions)


def ensure_pages(paths: Paths, units: Units) -> bool:
    """HTTPS for the pages alone, before setup is over; False when nginx has it already."""
    if (paths.rendered / proxy.TEMPLATES[0].target).exists():
        return False
    plan = Plan(
        settings=None,
        secrets=Secrets(),
        version="",
        homeserver=None,
        templates=proxy.TEMPLATES,
        size=choose_size(paths, None),
    )
    ensure_directory(paths, paths.rendered)
    for item in render_plan(paths, plan, config=paths.rendered):
        _write(paths, paths.rendered, item)
    _act(units, proxy.UNIT, Action.RELOAD)
    return True


def is_applied(paths: Paths) -> bool:
    """Whether everything in place is what would be rendered now, and was accepted."""
    plan = load_plan(paths)
    items = render_plan(paths, plan, config=paths.rendered)
    accepted = fingerprints(plan.version, items) == load_marks(paths)
    is_in_place = accepted and not find_changes(paths, items, plan.secrets)
    return is_in_place and not load_pending(paths)


def check_plan(paths: Paths, plan: Plan, places: Collection[str]) -> None:
    """The checkers of these programs over a rendering of its own in /run. Raises CheckerError.

    Each reads its own files only, and Synapse's takes seconds on the quickest board.
    """
    paths.runtime.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="check-", dir=paths.runtime))
    try:
        # Each file keeps owner and mode of the real one, so the way to them may be open.
        scratch.chmod(0o755)
        config = scratch / "hearth"
        ensure_directory(paths, config)
        for item in render_plan(paths, plan, config=config):
            _write(paths, config, item)
        for title, templates, check in _checkers(paths, plan, scratch):
            if not {template.place for template in templates}.isdisjoint(places):
                with progress(f"Checking {title}'s configuration"):
                    check()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _checkers(paths: Paths, plan: Plan, scratch: Path) -> Iterator[Checker]:
    config = scratch / "hearth"
    if any(template.unit == proxy.UNIT for template in plan.templates):
        yield "nginx", proxy.TEMPLATES, partial(proxy.check, paths, scratch)
    if (homeserver := plan.homeserver) is not None:
        yield "PostgreSQL", database.TEMPLATES, partial(database.check, paths, config)
        check = partial(homeserver.check, paths, config)
        yield homeserver.title, homeserver.templates, check
    if templates := tunnel.templates_for(plan.settings, plan.secrets):
        yield "the tunnel", templates, partial(tunnel.check, config)


def find_changes(
    paths: Paths, items: Sequence[Rendered], secrets: Secrets, *, with_diff: bool = False
) -> tuple[Change, ...]:
    """Files to write and files of ours that no template makes any more."""
    wanted = {item.target: item.text for item in items}
    present = {
        str(file.relative_to(paths.rendered)): file.read_text(errors="replace")
        for place in MANAGED
        for file in sorted((paths.rendered / place).glob("*"))
        if file.is_file() and not file.name.startswith(".")
    }
    found = []
    for target in sorted({*wanted, *present}):
        old, new = present.get(target), wanted.get(target)
        if old == new:
            continue
        what = "new" if old is None else "gone" if new is None else "different"
        name = f"{paths.rendered}/{target}"
        diff = show_difference(name, old or "", new or "", secrets) if with_diff else ""
        found.append(Change(target=target, what=what, diff=diff))
    return tuple(found)


def _act(units: Units, unit: str, action: Action) -> bool:
    """Whether the unit was running; one that is not reads its files when it starts."""
    if not units.is_active(unit):
        return False
    with progress(f"{'Reloading' if action is Action.RELOAD else 'Restarting'} {unit}"):
        units.reload(unit) if action is Action.RELOAD else units.restart(unit)
    return True


def _replace(paths: Paths, items: Sequence[Rendered], changes: Sequence[Change]) -> None:
    ensure_directory(paths, paths.rendered)
    by_target = {item.target: item for item in items}
    for change in changes:
        item = by_target.get(change.target)
        if item is None:
            (paths.rendered / change.target).unlink()
        else:
            _write(paths, paths.rendered, item)


def _write(paths: Paths, config: Path, item: Rendered) -> None:
    file = config / item.target
    ensure_directory(paths, file.parent)
    owner = find_owner(paths, "root", item.template.group)
    write_atomic(file, item.text, mode=SECRET_MODE, owner=owner)
