"""What ``hearthctl apply`` does: settings to rendered configuration, checked, then put in place.

Render everything; let each program check its own part in a scratch directory; replace files only
when all were accepted; restart or reload only units whose files changed. At boot nothing is
checked: /etc is empty then, so there is nothing better to keep, and importing Synapse for its
parser would delay every start by minutes on a slow board.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.errors import ConfigError, StateError
from appliance.log import progress
from appliance.paths import Paths
from appliance.settings import Secrets, Settings, load_secrets, load_settings
from services import database, proxy
from services.acme.challenge import webroot
from services.authority import device_file
from services.difference import show_difference
from services.homeserver import Homeserver, find_homeserver
from services.limits import Limit, find_changed, find_limits, set_limits
from services.names import client_url, public_names
from services.owners import ensure_directory, find_owner
from services.pending import find_due, load_mark, load_pending, save_mark, save_pending
from services.render import (
    Action,
    Rendered,
    Template,
    fingerprint,
    render_templates,
)
from services.sizing import Size, choose_size
from services.timezone import ensure_timezone
from services.tunnel import layout as tunnel
from services.tunnel.place import find_tunnel
from services.units import Units

SECRET_MODE = 0o640
# Directories under Paths.rendered in which every file comes from a template.
MANAGED = ("dendrite", "nginx", "postgresql", "synapse", "wireguard")


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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All inputs of a rendering, read once."""

    settings: Settings | None
    secrets: Secrets
    version: str
    homeserver: Homeserver | None
    templates: tuple[Template, ...]
    size: Size

    @property
    def limits(self) -> tuple[Limit, ...]:
        return find_limits(self.size, self.homeserver)


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
    mark = fingerprint(plan.version, items)
    needs_check = not boot and mark != load_mark(paths)
    if needs_check:
        check_plan(paths, plan)
    changed = {change.target for change in changes}
    due = find_due(paths, [item.template for item in items if item.target in changed])
    if dry_run:
        actions = tuple(f"{act} {unit}" for unit, act in due)
        actions += tuple(f"limit {one.unit}" for one in find_changed(paths, plan.limits))
        return ApplyReport(dry_run=True, checked=needs_check, changes=changes, actions=actions)
    if plan.settings is not None:
        ensure_timezone(paths, plan.settings.device.timezone)
    # Noted first: should a reload fail or we be killed, the next run still owes it.
    save_pending(paths, due)
    _replace(paths, items, changes)
    if needs_check:
        save_mark(paths, mark)
    actions = tuple(f"{act} {unit}" for unit, act in due if _act(units, unit, act))
    save_pending(paths, ())
    # Last, since it counts at once: less than before must not end what is to be restarted anyway.
    actions += set_limits(paths, units, plan.limits)
    return ApplyReport(dry_run=False, checked=needs_check, changes=changes, actions=actions)


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
    accepted = fingerprint(plan.version, items) == load_mark(paths)
    is_in_place = accepted and not find_changes(paths, items, plan.secrets)
    return is_in_place and not load_pending(paths)


def load_plan(paths: Paths) -> Plan:
    """Raises ConfigError for damaged settings, StateError for a homeserver without identity."""
    settings = load_settings(paths.settings)
    secrets = load_secrets(paths.secrets)
    homeserver = find_homeserver(settings.server.software) if settings else None
    templates: list[Template] = []
    if device_file(paths).exists():
        templates += proxy.TEMPLATES
    if homeserver is not None:
        if not homeserver.signing_key(paths).exists():
            raise missing_identity(homeserver, paths)
        templates += [*database.TEMPLATES, *homeserver.templates]
    if settings is not None and public_names(settings) is not None:
        templates += proxy.PUBLIC_TEMPLATES
    templates += tunnel.templates_for(settings, secrets)
    return Plan(
        settings=settings,
        secrets=secrets,
        version=_load_version(paths),
        homeserver=homeserver,
        templates=tuple(templates),
        size=choose_size(paths, settings),
    )


def missing_identity(homeserver: Homeserver, paths: Paths) -> StateError:
    """A server that comes back with a new key is a stranger to everybody who knew it."""
    message = (
        f"the signing key {homeserver.signing_key(paths)} is missing, "
        f"so {homeserver.title} will not start"
    )
    hint = "restore it from the recovery file or a backup; a new key would be a new identity"
    return StateError(message, hint=hint)


def render_plan(paths: Paths, plan: Plan, *, config: Path) -> tuple[Rendered, ...]:
    """All files; ``config`` is the directory under which they will lie."""
    settings = plan.settings
    values = {
        "settings": settings,
        "secrets": plan.secrets,
        "homeserver": plan.homeserver,
        "paths": paths,
        "config": config,
        "certificates": paths.certificates,
        "client_url": client_url(settings) if settings else "",
        "public": public_names(settings) if settings else None,
        "certified": proxy.public_file(paths).exists(),
        "challenges": webroot(paths),
        "max_upload_mb": proxy.MAX_UPLOAD_MB,
        "size": plan.size,
    }
    if settings is not None and (way := find_tunnel(settings)) is not None:
        values |= tunnel.values_of(way, plan.secrets)
    return render_templates(paths, plan.templates, values)


def check_plan(paths: Paths, plan: Plan) -> None:
    """Every program's own checker over a rendering of its own in /run. Raises CheckerError."""
    paths.runtime.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="check-", dir=paths.runtime))
    try:
        # Each file keeps owner and mode of the real one, so the way to them may be open.
        scratch.chmod(0o755)
        config = scratch / "hearth"
        ensure_directory(paths, config)
        for item in render_plan(paths, plan, config=config):
            _write(paths, config, item)
        if any(template.unit == proxy.UNIT for template in plan.templates):
            with progress("Checking nginx's configuration"):
                proxy.check(paths, scratch)
        if plan.homeserver is not None:
            with progress("Checking PostgreSQL's configuration"):
                database.check(paths, config)
            with progress(f"Checking {plan.homeserver.title}'s configuration"):
                plan.homeserver.check(paths, config)
        if tunnel.templates_for(plan.settings, plan.secrets):
            with progress("Checking the tunnel's configuration"):
                tunnel.check(config)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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


def _load_version(paths: Paths) -> str:
    try:
        return str(json.loads(paths.image_facts.read_text())["version"])
    except FileNotFoundError:
        return "unknown"
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{paths.image_facts} is damaged: {error}") from error
