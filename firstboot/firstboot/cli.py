"""The verbs of ``hearthctl`` and, below them, those that only units and the agent use.

Each verb loads what it needs when it runs: the agent stays in memory for good, and Python is slow
to start on a small board.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.paths import Paths
from firstboot import (
    claim_verbs,
    other_servers,
    provider_verbs,
    rented_server,
    reset_verbs,
    snapshot_verbs,
    trial_verbs,
    update_verbs,
    way_verbs,
)
from firstboot.privilege import require_root

DESCRIPTION = "Look after this Hearth."
EPILOG = """\
examples:
  hearthctl status            what runs, under which names, since when it is set up
  hearthctl status --json     the same for scripts
  hearthctl doctor            check everything and say what to do about what is wrong
  hearthctl ddns set         another DDNS provider, name or token, tried before it is used
  hearthctl doctor ddns       prove the account at the DDNS provider, and what the world sees
  hearthctl network check     whether the world can reach this device, in ten seconds
  hearthctl way               how the world gets in, and which other ways there are
  hearthctl tunnel status     whether the rented server answers, and why not
  hearthctl federation check  whether other servers can talk to this one
  hearthctl wakeup --dry-run  whom a wake-up call would go to
  hearthctl reset --keep      begin anew, with a way back for a day
  hearthctl update            which version runs, what is offered, how the last ones ended
  hearthctl apply --dry-run   what a new rendering of the configuration would change
"""

Verb = Callable[[Paths, argparse.Namespace], int]


def run_verb(arguments: Sequence[str]) -> int:
    options = make_parser().parse_args(arguments)
    verb: Verb = options.verb
    return verb(Paths(options.root), options)


def make_parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show every command, and tracebacks",
    )
    parser = argparse.ArgumentParser(
        prog="hearthctl",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    verbs = parser.add_subparsers(required=True, metavar="VERB", title="verbs")

    def add(name: str, verb: Verb, text: str | None = None) -> argparse.ArgumentParser:
        # A verb without help is for units only and does not appear in the list.
        known = {"help": text, "description": text} if text else {}
        added = verbs.add_parser(name, parents=[common], **known)  # type: ignore[arg-type]
        added.set_defaults(verb=verb)
        return added

    _add_public(add)
    claim_verbs.add_verbs(add)
    other_servers.add_verbs(add)
    way_verbs.add_verbs(add)
    provider_verbs.add_verbs(add)
    rented_server.add_verbs(add)
    update_verbs.add_verbs(add)
    snapshot_verbs.add_verbs(add)
    reset_verbs.add_verbs(add)
    trial_verbs.add_verbs(add)
    _add_internal(add)
    return parser


def _add_public(add: Callable[..., argparse.ArgumentParser]) -> None:
    json_help = "print JSON"
    status = add("status", _status, "Show what was measured: names, addresses, slot, setup.")
    status.add_argument("--json", action="store_true", help=json_help)
    doctor = add("doctor", _doctor, "Check everything; exit code 1 if something is wrong.")
    doctor.add_argument("checks", nargs="*", metavar="CHECK", help="only these, after their jobs")
    doctor.add_argument("--json", action="store_true", help=json_help)
    apply = add("apply", _apply, "Render and check the configuration, restart what changed.")
    apply.add_argument("--dry-run", action="store_true", help="only show what would change")
    apply.add_argument(
        "--boot", action="store_true", help="at the start: no checkers, nothing is restarted"
    )
    apply.add_argument("--json", action="store_true", help=json_help)
    network = add("network", _network, "Measure how this device is connected to the world.")
    network.add_argument(
        "act",
        choices=["check"],
        help="check: the router, the address others see, IPv6; exit code 1 if nobody can reach us",
    )
    network.add_argument("--save", action="store_true", help="as the result that pages show")
    network.add_argument("--json", action="store_true", help=json_help)


def _add_internal(add: Callable[..., argparse.ArgumentParser]) -> None:
    add("agent", _agent)
    add("provision", _provision)
    add("provision-ended", _provision_ended)
    add("certificate", _certificate)
    add("router", _router)
    portmap = add("portmap", _portmap)
    portmap.add_argument("--release", action="store_true")
    portmap.add_argument("--urgent", action="store_true")
    add("strangers", _strangers)
    add("acme", _acme)
    add("ddns-check", _ddns_check)
    add("rauc-files", _rauc_files)
    backend = add("slot-backend", _slot_backend)
    backend.add_argument("act")
    backend.add_argument("arguments", nargs="*")
    add("recovery-file", _recovery_file)
    add("qr", _qr).add_argument("text")


def _status(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.report import show_status

    return show_status(paths, as_json=options.json)


def _doctor(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.doctor import show_report

    require_root()
    return show_report(paths, as_json=options.json, names=options.checks)


def _apply(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.report import show_apply
    from services.configuration import apply_configuration
    from services.units import SystemdUnits

    require_root()
    report = apply_configuration(paths, SystemdUnits(), boot=options.boot, dry_run=options.dry_run)
    if options.boot:
        from services.snapshots.prepare import note_settled

        note_settled(paths)
    return show_apply(report, as_json=options.json)


def _network(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.network import check_network

    if options.save:
        require_root()
    return check_network(paths, as_json=options.json, save=options.save)


def _router(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.router import watch_router

    return watch_router(paths)


def _portmap(paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.portmap import keep_ports, release_ports
    from services.units import SystemdUnits

    if options.release:
        return release_ports(paths)
    return keep_ports(paths, SystemdUnits(), urgent=options.urgent)


def _strangers(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.strangers import keep_strangers_out

    return keep_strangers_out(paths)


def _agent(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.resident import run_agent

    return run_agent(paths)


def _provision(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.provision import provision
    from services.units import SystemdUnits

    provision(paths, SystemdUnits())
    return 0


def _provision_ended(paths: Paths, _options: argparse.Namespace) -> int:
    import os
    import time

    from firstboot.aftermath import record_death
    from services.units import is_machine_stopping

    record_death(paths, os.environ, is_stopping=is_machine_stopping(), now=time.time())
    return 0


def _certificate(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.certificate import renew_certificate
    from services.units import SystemdUnits

    renew_certificate(paths, SystemdUnits())
    return 0


def _acme(paths: Paths, _options: argparse.Namespace) -> int:
    import time

    from firstboot.acme import look_after_certificate
    from services.units import SystemdUnits

    state = look_after_certificate(paths, SystemdUnits(), time.time)
    return 1 if state is not None and state.error else 0


def _ddns_check(paths: Paths, _options: argparse.Namespace) -> int:
    from firstboot.address_check import check_address

    check_address(paths)
    return 0


def _rauc_files(paths: Paths, _options: argparse.Namespace) -> int:
    from services.update.raucconf import write_rauc_files

    require_root()
    write_rauc_files(paths)
    return 0


def _slot_backend(paths: Paths, options: argparse.Namespace) -> int:
    from services.slots.rauc_backend import answer

    if said := answer(paths, options.act, options.arguments):
        sys.stdout.write(f"{said}\n")
    return 0


def _recovery_file(paths: Paths, _options: argparse.Namespace) -> int:
    """The passphrase comes on standard input, since arguments can be seen by everybody."""
    import base64

    from services.recovery import make_recovery_file

    content = make_recovery_file(paths, sys.stdin.read())
    sys.stdout.write(base64.b64encode(content).decode() + "\n")
    return 0


def _qr(_paths: Paths, options: argparse.Namespace) -> int:
    from firstboot.qr import print_qr

    print_qr(options.text)
    return 0
