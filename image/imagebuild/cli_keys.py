"""`hearth keys`: a root to keep offline, release keys under it, and taking one's power away."""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

from cryptography import x509

from appliance.errors import ConfigError
from imagebuild.certificates import (
    common_name,
    crl_number,
    fingerprint,
    load_certificate,
    unit_of,
)
from imagebuild.keyring import Keyring, load_keyring
from imagebuild.keys import RELEASE_YEARS, RESERVED, init_root, new_release_key, revoke

MADE_ROOT = """\
{directory} holds a new root.
  root.key      keep it offline: on two sticks in two places, in no computer that is on a network.
                Whoever has it can update every appliance; without it no key can be revoked.
  keyring.pem   goes into every image:  hearth build --release --keyring {directory}/keyring.pem
  revoked.crl   goes beside the channels of the update server
Next:  hearth keys new-release-key {directory} NAME"""
MADE_KEY = """\
{certificate}
  Take it with {name}.key and keyring.pem to where releases are signed, and delete {name}.key here:
  hearth bundle --cert {name}.crt --key {name}.key --keyring keyring.pem"""
MADE_REQUESTED = """\
{certificate}
  Take it with keyring.pem to where releases are signed; the key is where the request was made:
  hearth bundle --cert {name}.crt --key pkcs11:... --keyring keyring.pem"""
REVOKED = """\
{name} is revoked (list {number}).
  Publish {directory}/revoked.crl beside the channels: appliances fetch it before they install.
  Build the next image with {directory}/keyring.pem: newly flashed cards know it from the start.
  What {name} has signed is refused from then on, however old: sign the newest release anew."""


def add_keys(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    keys = commands.add_parser(
        "keys",
        help="the keys that vouch for updates",
        description=__doc__,
        epilog="examples:  hearth keys init-root /media/stick/root\n"
        "           hearth keys new-release-key /media/stick/root 2027",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = keys.add_subparsers(required=True, metavar="VERB")
    init = verbs.add_parser("init-root", help="make a root in a new directory")
    init.add_argument("directory", type=Path)
    init.add_argument("--title", default="Hearth updates", help="its name; %(default)s")
    init.set_defaults(command=init_command)
    new = verbs.add_parser("new-release-key", help="a key that may sign releases")
    new.add_argument("directory", type=Path)
    new.add_argument("name", help="e.g. 2027")
    new.add_argument("--years", type=_years, default=RELEASE_YEARS, help="default %(default)s")
    new.add_argument("--request", type=Path, metavar="CSR",
                     help="certify the key of this PKCS#10 request, e.g. a token's")  # fmt: skip
    new.set_defaults(command=new_command)
    gone = verbs.add_parser("revoke", help="let nothing count any more that a key has signed")
    gone.add_argument("directory", type=Path)
    gone.add_argument("name")
    gone.set_defaults(command=revoke_command)
    for verb in (init, new, gone):
        verb.add_argument("--passphrase-file", type=Path, metavar="FILE",
                          help="locks root.key; the file's first line")  # fmt: skip
    show = verbs.add_parser("show", help="what a root's directory or a keyring holds")
    show.add_argument("place", type=Path, metavar="DIR_OR_KEYRING")
    show.add_argument("--json", action="store_true")
    show.set_defaults(command=show_command)


def _years(text: str) -> float:
    years = float(text)
    if not 0 < years <= 50:  # noqa: PLR2004 - as long as a root
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 50")
    return years


def init_command(options: argparse.Namespace) -> int:
    init_root(options.directory, options.title, _now(), passphrase=_passphrase(options))
    print(MADE_ROOT.format(directory=options.directory))
    return 0


def new_command(options: argparse.Namespace) -> int:
    certificate = new_release_key(
        options.directory,
        options.name,
        _now(),
        years=options.years,
        request=options.request,
        passphrase=_passphrase(options),
    )
    text = MADE_KEY if options.request is None else MADE_REQUESTED
    print(text.format(certificate=certificate, name=options.name))
    return 0


def revoke_command(options: argparse.Namespace) -> int:
    directory, name = options.directory, options.name
    if not revoke(directory, name, _now(), passphrase=_passphrase(options)):
        print(f"{name} was revoked before; nothing has changed")
        return 0
    [crl] = load_keyring(directory / "keyring.pem").crls
    print(REVOKED.format(name=name, directory=directory, number=crl_number(crl)))
    return 0


def show_command(options: argparse.Namespace) -> int:
    place = options.place
    keyring = load_keyring(place / "keyring.pem" if place.is_dir() else place)
    issued = _issued(place) if place.is_dir() else {}
    table = {
        "roots": [_root_row(keyring, root) for root in keyring.roots],
        "release_keys": [_key_row(keyring, name, issued[name]) for name in sorted(issued)],
    }
    if options.json:
        print(json.dumps(table, indent=1))
        return 0
    for row in table["roots"]:
        kind = "a checkout's own, never for releases" if row["development"] else "for releases"
        print(f"root {row['title']!r} ({kind}), until {row['until']}, SHA-256 {row['sha256']}")
        print(f"  revocation list {row['crl']}: {len(row['revoked'])} revoked")
        for serial in row["revoked"]:
            print(f"    serial {serial}")
    for row in table["release_keys"]:
        state = "revoked" if row["revoked"] else f"{row['from']} to {row['until']}"
        print(f"release key {row['name']}: {row['title']!r}, {state}, serial {row['serial']}")
    return 0


def _issued(directory: Path) -> dict[str, x509.Certificate]:
    files = [path for path in directory.glob("*.crt") if path.stem not in RESERVED]
    return {path.stem: load_certificate(path) for path in files}


def _root_row(keyring: Keyring, root: x509.Certificate) -> dict[str, Any]:
    crl = keyring.crl_of(root)
    return {
        "title": common_name(root),
        "development": keyring.is_development,
        "sha256": fingerprint(root),
        "until": f"{root.not_valid_after_utc:%Y-%m-%d}",
        "crl": crl_number(crl) if crl is not None else None,
        "revoked": [f"{entry.serial_number:x}" for entry in crl or ()],
    }


def _key_row(keyring: Keyring, name: str, certificate: x509.Certificate) -> dict[str, Any]:
    serial = certificate.serial_number
    lists = keyring.crls
    return {
        "name": name,
        "title": common_name(certificate),
        "unit": unit_of(certificate),
        "sha256": fingerprint(certificate),
        "serial": f"{serial:x}",
        "from": f"{certificate.not_valid_before_utc:%Y-%m-%d}",
        "until": f"{certificate.not_valid_after_utc:%Y-%m-%d}",
        "revoked": any(crl.get_revoked_certificate_by_serial_number(serial) for crl in lists),
    }


def _passphrase(options: argparse.Namespace) -> bytes | None:
    path: Path | None = options.passphrase_file
    if path is None:
        return None
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(message, hint="give a file whose first line is the passphrase") from error
    if not lines or not lines[0]:
        message = f"the first line of {path} is empty"
        raise ConfigError(message, hint="give a file whose first line is the passphrase")
    return lines[0]


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
