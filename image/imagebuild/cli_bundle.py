"""The options of `hearth bundle`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from appliance.errors import UsageError
from appliance.tables import to_table
from imagebuild.build import give_to_caller
from imagebuild.bundle import (
    Signing,
    SlotImage,
    check_signing,
    check_target,
    make_bundle,
    read_notes,
    read_slot,
)
from imagebuild.bundlefile import BundleFile
from imagebuild.context import Context, make_context
from imagebuild.keyring import DEVELOPMENT
from imagebuild.keys import ensure_development_keys
from imagebuild.recipe import make_recipe
from imagebuild.tools import ensure_tools


def add_bundle(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    bundle = commands.add_parser(
        "bundle",
        help="make a signed update of a built image",
        description="Make hearth-VERSION-arm64.raucb of an image, beside it. An appliance installs "
        "it from a channel (`hearth release`), from a file or from a stick.",
        epilog="examples:  hearth bundle\n           hearth bundle build/hearth-1.2.3-arm64.img"
        " --cert 2027.crt --key 2027.key --keyring keyring.pem --notes notes.txt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    bundle.add_argument("image", type=Path, nargs="?", help="default: the last development image")
    bundle.add_argument("--cert", metavar="FILE", help="release certificate, or a PKCS#11 URI")
    bundle.add_argument("--key", metavar="FILE", help="its key, or a PKCS#11 URI")
    bundle.add_argument("--keyring", type=Path, metavar="FILE", help="that of the images to update")
    bundle.add_argument("--notes", type=Path, metavar="FILE", help="what is new, for the owner")
    bundle.add_argument("--output", type=Path, metavar="FILE", help="another place or name")
    bundle.add_argument("--dry-run", action="store_true", help="only say what it would be")
    bundle.add_argument("--json", action="store_true", help="facts, size and hash as JSON")
    bundle.set_defaults(command=bundle_command)


def bundle_command(options: argparse.Namespace) -> int:
    context = make_context(make_recipe("hearth"))
    ensure_tools(context)
    image = options.image or context.raw_image
    signing, own = _signing(options, context)
    notes = read_notes(options.notes)
    slot = read_slot(context, image)
    check_signing(slot, signing, own=own)
    target = options.output or image.with_suffix(".raucb")
    check_target(target)
    made = None
    if not options.dry_run:
        made = make_bundle(context, slot, signing, notes, target)
        give_to_caller(target)
    _say(options, slot, target, notes, made)
    return 0


def _signing(options: argparse.Namespace, context: Context) -> tuple[Signing, bool]:
    """What to sign with, and whether that is this checkout's own."""
    given = [value for value in (options.cert, options.key, options.keyring) if value is not None]
    if not given:
        keys = ensure_development_keys(context.recipe.development_keys).parent
        certificate, key = keys / f"{DEVELOPMENT}.crt", keys / f"{DEVELOPMENT}.key"
        return Signing(
            certificate=f"{certificate}", key=f"{key}", keyring=keys / "keyring.pem"
        ), True
    if len(given) != 3:  # noqa: PLR2004 - those three
        message = "--cert, --key and --keyring belong together"
        raise UsageError(message, hint="give all three, or none of them for a development image")
    return Signing(certificate=options.cert, key=options.key, keyring=options.keyring), False


def _say(
    options: argparse.Namespace,
    slot: SlotImage,
    target: Path,
    notes: str,
    made: BundleFile | None,
) -> None:
    facts = to_table(slot.facts)
    if options.json:
        table = {"facts": facts, "notes": notes, "development": slot.is_development}
        if made is not None:
            table["bundle"] = {"file": str(target), "size": made.size, "sha256": made.sha256}
        print(json.dumps(table, indent=1))
        return
    for name, value in facts.items():
        print(f"  {name:<20} {' '.join(value) if isinstance(value, list) else value}")
    if made is not None:
        print(f"{target}: {made.size / 1e6:.1f} MB, signed by {made.signed.signer}")
