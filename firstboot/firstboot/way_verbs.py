"""``hearthctl way``: how the world gets in, which other ways there are, and changing it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from appliance.answers import Measured, Outside, WayOffer
from appliance.errors import CheckerError, FieldError, StateError
from appliance.log import logger, progress
from appliance.paths import Paths
from appliance.settings import (
    TUNNEL_PORT,
    Public,
    Settings,
    Tunnel,
    Way,
    load_settings,
    save_toml,
)
from appliance.state import Phase, load_state
from appliance.tables import to_table
from firstboot.privilege import require_root
from services.units import Units

DEFAULT_PORT = 8448
START_SECONDS = 300.0
ROUTER = "hearth-router.service"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """``port`` is the router's for Way.PORT, the rented server's for Way.TUNNEL; None for the one
    that is in use, or the usual one.
    """

    way: Way
    port: int | None = None
    server: str = ""
    dry_run: bool = False
    as_json: bool = False


def add_verbs(add: Callable[..., argparse.ArgumentParser]) -> None:
    way = add("way", _way, "Show how the world gets in, or choose another way.")
    way.add_argument("way", nargs="?", choices=[one.value for one in Way], help="the new way")
    help_port = "port: which one (as now, or 8448); tunnel: WireGuard's (as now, or 51820)"
    way.add_argument("--port", type=int, help=help_port)
    way.add_argument("--server", default="", help="tunnel: the rented server's name or address")
    way.add_argument("--dry-run", action="store_true", help="only say what would change")
    way.add_argument("--json", action="store_true", help="print JSON")


def _way(paths: Paths, options: argparse.Namespace) -> int:
    from services.units import SystemdUnits

    require_root()
    if options.way is None:
        return show_way(paths, as_json=options.json)
    asked = Asked(
        way=Way(options.way),
        port=options.port,
        server=options.server,
        dry_run=options.dry_run,
        as_json=options.json,
    )
    return change_way(paths, SystemdUnits(), asked)


def show_way(paths: Paths, *, as_json: bool) -> int:
    """Exit code 0 when the way in use is known to work."""
    from appliance.answers import Judgement
    from firstboot.outside import way_fact

    settings, public = load_public(paths)
    fact, offers = way_fact(paths, settings), find_offers(paths, settings, public)
    if as_json:
        table = {"way": public.way.value, "port": public.port, "now": to_table(fact),
                 "ways": [to_table(offer) for offer in offers]}  # fmt: skip
        sys.stdout.write(json.dumps(table, indent=1) + "\n")
    else:
        sys.stdout.write(describe(public, fact, offers))
    return 0 if fact.judgement is Judgement.GOOD else 1


def describe(public: Public, fact: Outside, offers: tuple[WayOffer, ...]) -> str:
    lines = [f"{public.way.value}: {fact.detail}"]
    if fact.next_step:
        lines.append(f"  -> {fact.next_step}")
    lines.append("ways here, the best one first:")
    for offer in offers:
        mark = "*" if offer.way is public.way else " "
        said = f"not possible: {offer.obstacle}" if offer.obstacle else offer.caution
        lines.append(f" {mark} {offer.way.value:7} {said}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def change_way(paths: Paths, units: Units, asked: Asked) -> int:
    """Settings, configuration, then the steps outside; 1 when the world cannot get in yet.

    Raises FieldError for a way that cannot be, StateError before setup is over.
    """
    settings, public = load_public(paths)
    after = judge(settings, public, asked)
    if asked.dry_run:
        change = {"before": to_table(public), "after": to_table(after)}
        _say(asked, change, _difference(public, after))
        return 0
    save(paths, replace(settings, public=after))
    if after.way is Way.TUNNEL:
        logger.info("hearthctl tunnel script prints what has to be pasted on the rented server")
    leave(units, public, after)
    put_in_place(paths, units, settings)
    problems = enter(paths, units)
    table = {"way": after.way.value, "port": after.port, "problems": problems}
    _say(asked, table, "".join(f"not yet: {one}\n" for one in problems) or "the world can get in\n")
    return 1 if problems else 0


def judge(settings: Settings, public: Public, asked: Asked) -> Public:
    from firstboot.tunnel_answers import judge_tunnel
    from firstboot.way_answers import judge_way

    known = public.port if public.way is Way.PORT else DEFAULT_PORT
    wanted = known if asked.port is None else asked.port
    port = judge_way(public, settings.server.name, asked.way, wanted)
    tunnel: Tunnel | None = None
    if asked.way is Way.TUNNEL:
        before = public.tunnel or Tunnel(server="", port=TUNNEL_PORT)
        wanted = before.port if asked.port is None else asked.port
        tunnel = judge_tunnel(asked.server or before.server, wanted)
    elif asked.server:
        raise FieldError("server", "Only a tunnel has a server.", hint="leave out --server")
    return replace(public, way=asked.way, port=port, tunnel=tunnel)


def leave(units: Units, before: Public, after: Public) -> None:
    """What an apply does not end by itself; ports are given back by their job's next run.

    Before an apply: the tunnel is taken down by the files that brought it up.
    """
    from services.tunnel.place import UNIT

    if before.way is Way.TUNNEL and after.way is not Way.TUNNEL and units.is_active(UNIT):
        units.stop(UNIT)


def save(paths: Paths, settings: Settings) -> None:
    from firstboot.door import ui_owner
    from services.tunnel.keys import ensure_keys
    from services.tunnel.place import find_tunnel

    if find_tunnel(settings) is not None:
        ensure_keys(paths)
    save_toml(settings, paths.settings, mode=0o640, owner=ui_owner())


def put_in_place(paths: Paths, units: Units, before: Settings) -> None:
    """The configuration of new settings; one that its checker refuses brings back the old ones."""
    from firstboot.door import ui_owner
    from services.configuration import apply_configuration
    from services.tunnel.place import UNIT, find_tunnel

    try:
        apply_configuration(paths, units)
    except CheckerError:
        save_toml(before, paths.settings, mode=0o640, owner=ui_owner())
        if find_tunnel(before) is not None:
            units.start(UNIT, wait=False)
        raise


def enter(paths: Paths, units: Units) -> list[str]:
    """The same steps as at the end of setup; what is not ready yet."""
    from firstboot.steps import STEPS, find_steps
    from firstboot.steps.context import Context, NotYetError

    context = Context(paths=paths, units=units, report=logger.info, start_seconds=START_SECONDS)
    problems = []
    for step in find_steps(context.settings)[len(STEPS) :]:
        if step.is_done(context):
            continue
        try:
            with progress(step.title):
                step.apply(context)
        except NotYetError as error:
            hint = f" ({error.hint})" if error.hint else ""
            problems.append(f"{error.message}{hint}")
    hear_router(units, context.settings)
    return problems


def hear_router(units: Units, settings: Settings) -> None:
    """A target that is active starts no more what its boot has skipped (hearth-router.service)."""
    from services.tunnel.place import find_tunnel

    is_wanted = find_tunnel(settings) is None
    if units.is_active(ROUTER) == is_wanted:
        return
    units.start(ROUTER) if is_wanted else units.stop(ROUTER)


def find_offers(paths: Paths, settings: Settings, public: Public) -> tuple[WayOffer, ...]:
    from firstboot.checks import measured
    from firstboot.way_answers import offer_ways
    from services.reach import AddressResult
    from services.results import load_result
    from services.wan import RESULT

    found = load_result(paths, RESULT, AddressResult)
    network = measured(found.finding) if found else Measured()
    return offer_ways(paths, public, settings.server.name, network)


def load_public(paths: Paths) -> tuple[Settings, Public]:
    """Raises StateError for a server that has no way in."""
    settings = load_settings(paths.settings)
    if settings is None or load_state(paths.state).phase is not Phase.READY:
        raise StateError("setup is not over", hint="choose the way in on the wizard's page")
    if settings.public is None:
        message = f"{settings.server.name} serves the home network only; its name is part of it"
        raise StateError(message, hint="a server for the world is set up with a public name")
    return settings, settings.public


def _difference(before: Public, after: Public) -> str:
    if before == after:
        return "nothing would change\n"
    old, new = to_table(before), to_table(after)
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return "".join(f"{name}: {old.get(name)} -> {new.get(name)}\n" for name in changed)


def _say(asked: Asked, table: Mapping[str, object], text: str) -> None:
    sys.stdout.write(json.dumps(table, indent=1) + "\n" if asked.as_json else text)
