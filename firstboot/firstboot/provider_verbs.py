"""``hearthctl ddns``: have the name follow now, or let another account make it follow."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from appliance.answers import OWN_DNS
from appliance.errors import CheckerError, FieldError, UsageError
from appliance.log import logger
from appliance.paths import Paths
from appliance.secretfile import change_secrets, hold_secrets, rewrite_secrets
from appliance.settings import Public, Secrets, Settings, load_secrets, save_toml
from firstboot.privilege import require_root
from services.units import Units

MAX_TOKEN = 4096


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was typed; what is None stays as it is with the same provider."""

    provider: str
    name: str | None = None
    username: str | None = None
    endpoint: str | None = None
    secret: str = field(default="", repr=False)
    dry_run: bool = False
    as_json: bool = False


@dataclass(frozen=True, kw_only=True)
class Change:
    """``checked`` is what the provider said of the account, before anything is changed."""

    settings: Settings
    secret: str = field(repr=False)
    checked: str = ""
    note: str = ""


def add_verbs(add: Callable[..., argparse.ArgumentParser]) -> None:
    ddns = add("ddns", _ddns, "Have the name follow our address, as often as the provider allows.")
    ddns.add_argument(
        "act", nargs="?", choices=["set"], help="set: another provider, name or token, tried first"
    )
    ddns.add_argument(
        "--again", action="store_true", help="what the provider refused is mended: ask once more"
    )
    ddns.add_argument(
        "--provider", default="", metavar="ID", help=f"set: {OWN_DNS} for a DNS of your own"
    )
    ddns.add_argument("--name", help="set: the name at the provider")
    ddns.add_argument("--username", help="set: where the provider wants one")
    ddns.add_argument("--endpoint", help="set: the update address, or the name server")
    ddns.add_argument("--dry-run", action="store_true", help="set: try it, and change nothing")
    ddns.add_argument("--json", action="store_true", help="set: print JSON")
    ddns.epilog = "set reads the token or password from standard input, or asks for it."


def _ddns(paths: Paths, options: argparse.Namespace) -> int:
    if options.act == "set" and not options.provider:
        raise UsageError("which provider?", hint="hearthctl ddns set --provider duckdns, ...")
    require_root()
    if options.act is None:
        return follow_now(paths, again=options.again)
    from services.units import SystemdUnits

    asked = Asked(
        provider=options.provider,
        name=options.name,
        username=options.username,
        endpoint=options.endpoint,
        secret="" if options.provider == OWN_DNS else read_secret(),
        dry_run=options.dry_run,
        as_json=options.json,
    )
    return change_account(paths, SystemdUnits(), asked)


def follow_now(paths: Paths, *, again: bool) -> int:
    """Exit code 1 when the name does not lead here for a reason that we know."""
    from firstboot.ddns import follow_address

    result = follow_address(paths, again=again)
    if result is None:
        logger.info("no name at a DDNS provider is set; nothing to do")
        return 0
    if result.problem and result.hint:
        sys.stderr.write(f" hint: {result.hint}\n")
    return 1 if result.problem else 0


def read_secret() -> str:
    """Never an argument: everybody on the machine can see those."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("Token or password (empty: the same as before): ")
    return sys.stdin.readline(MAX_TOKEN).strip()


def change_account(paths: Paths, units: Units, asked: Asked) -> int:
    """Judged as the wizard does, tried at the provider, saved, and used at once.

    Returns 1 when the name does not lead here yet. Raises FieldError for what cannot be, or what
    the provider refuses; then nothing is changed.
    """
    from firstboot.way_verbs import enter, load_public

    with hold_secrets(paths):
        settings, public = load_public(paths)
        secrets = load_secrets(paths.secrets)
    change = judge(settings, public, asked, secrets)
    change = try_account(paths, change)
    if asked.dry_run:
        _say(asked, change, ())
        return 0
    save(paths, units, settings, change)
    problems = tuple(enter(paths, units))
    _say(asked, change, problems)
    return 1 if problems else 0


def judge(settings: Settings, public: Public, asked: Asked, secrets: Secrets) -> Change:
    from appliance.protocol import SaveAddress
    from firstboot.address_answers import judge_address, public_of
    from firstboot.way_answers import judge_way

    before = public.ddns if public.ddns and public.ddns.provider == asked.provider else None

    def kept(given: str | None, known: str) -> str:
        return known if given is None else given

    request = SaveAddress(
        session="",
        revision=0,
        provider=asked.provider,
        name=kept(asked.name, before.name if before else settings.server.name),
        username=kept(asked.username, before.username if before else ""),
        endpoint=kept(asked.endpoint, before.endpoint if before else ""),
        secret=asked.secret,
    )
    name = settings.server.name
    answers = judge_address(name, request, secrets.ddns_secret if before else "")
    possible = public_of(name, answers)
    # Clients know the homeserver by one of these names: none is given up without need, and none
    # is added without being asked for. In a DNS of the owner's own they are the owner's business.
    has_sub_names = public.sub_names and (possible.sub_names or possible.ddns is None)
    note = answers.note
    if public.sub_names and not has_sub_names:
        note = f"{note} matrix.{name} and chat.{name} are given up.".strip()
    after = replace(public, ddns=possible.ddns, sub_names=has_sub_names)
    # Or the certificate could be renewed no more, or the address told to nobody.
    judge_way(after, name, after.way, after.port)
    return Change(settings=replace(settings, public=after), secret=answers.secret, note=note)


def try_account(paths: Paths, change: Change) -> Change:
    """One question that changes nothing. Raises FieldError when the provider refuses."""
    from services.ddns.outcome import Kind
    from services.ddns.result import make_client

    public = change.settings.public
    if public is None or public.ddns is None:
        return change
    secrets = replace(load_secrets(paths.secrets), ddns_secret=change.secret)
    client = make_client(public.ddns, secrets)
    outcome = client.check_account()
    if outcome.is_stop:
        title = client.provider.title
        raise FieldError("secret", f"{title}: {outcome.problem}", hint=outcome.hint)
    if not outcome.is_done and outcome.kind is not Kind.UNTOLD:
        # In trouble, or not to be reached from here now: that says nothing about the account.
        logger.warning("%s could not be asked: %s", client.provider.title, outcome.problem)
    said = outcome.said if outcome.is_done else outcome.problem
    return replace(change, checked=said)


def save(paths: Paths, units: Units, before: Settings, change: Change) -> None:
    """In an order in which no cut ever shows one provider's token to another one.

    Raises CheckerError for settings that a checker refuses; then all is as it was.
    """
    from firstboot.door import ui_owner
    from firstboot.way_verbs import put_in_place
    from services.ddns.result import hold_lock

    with hold_lock(paths):
        with hold_secrets(paths):
            former = load_secrets(paths.secrets).ddns_secret
            if change.settings.public != before.public:
                rewrite_secrets(paths, lambda known: replace(known, ddns_secret=""))
                save_toml(change.settings, paths.settings, mode=0o640, owner=ui_owner())
        token = change.secret
        try:
            put_in_place(paths, units, before)
        except CheckerError:
            token = former
            raise
        finally:
            change_secrets(paths, lambda known: replace(known, ddns_secret=token))


def _say(asked: Asked, change: Change, problems: tuple[str, ...]) -> None:
    from services.names import public_names

    public, names = change.settings.public, public_names(change.settings)
    assert public is not None
    table = {
        "provider": public.ddns.provider if public.ddns else OWN_DNS,
        "name": public.ddns.name if public.ddns else change.settings.server.name,
        "names": list(names.all) if names else [],
        "checked": change.checked,
        "note": change.note,
        "changed": not asked.dry_run,
        "problems": list(problems),
    }
    if asked.as_json:
        sys.stdout.write(json.dumps(table, indent=1) + "\n")
        return
    verb = "would follow" if asked.dry_run else "follows"
    lines = [f"{table['name']} {verb} by {table['provider']}", change.checked, change.note]
    lines += [f"not yet: {one}" for one in problems]
    sys.stdout.write("".join(f"{line}\n" for line in lines if line))
