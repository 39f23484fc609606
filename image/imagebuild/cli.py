"""The commands of `hearth` and their options."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from appliance.errors import ImageError
from appliance.tables import to_table
from imagebuild.build import build_image, give_to_caller
from imagebuild.cli_bundle import add_bundle
from imagebuild.cli_flash import add_flash
from imagebuild.cli_keys import add_keys
from imagebuild.cli_release import add_release
from imagebuild.context import Context, make_context
from imagebuild.emulate import run_vm
from imagebuild.host import check_host
from imagebuild.packages import resolve, save_lock
from imagebuild.recipe import load_board, load_boards, make_recipe
from imagebuild.summary import Summary
from imagebuild.tools import ensure_tools


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hearth", description="Build Hearth's image and try it in QEMU."
    )
    parser.add_argument("--debug", action="store_true", help="show every command and tracebacks")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_build(commands)
    _add_vm(commands)
    add_flash(commands)
    _add_small(commands)
    add_bundle(commands)
    add_keys(commands)
    add_release(commands)
    return parser


def _add_build(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    build = commands.add_parser(
        "build",
        help="build the flashable image (root)",
        description="Build build/hearth-VERSION-arm64.img.zst with block map, SHA-256, manifest "
        "and SBOM. Layers that did not change come from ~/.cache/hearth.",
        epilog="examples:  sudo image/build\n           sudo image/build --locked --compress xz",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("--profile", default="hearth", help="image/profiles/NAME.toml")
    build.add_argument("--locked", action="store_true", help="exactly the lock file's versions")
    build.add_argument("--refresh", action="store_true", help="ask the mirror for versions again")
    build.add_argument("--mirror", metavar="URI", help="a Debian mirror instead of the host's own")
    build.add_argument("--compress", choices=("zst", "xz"), help="xz is smaller and much slower")
    build.add_argument("--release", action="store_true", help="a release image; needs --keyring")
    build.add_argument("--keyring", type=Path, metavar="FILE",
                       help="whom updates are believed from (`hearth keys`); without it, this "
                       "checkout's own development keys")  # fmt: skip
    build.add_argument("--version", metavar="X.Y.Z", help="instead of the profile's")
    build.add_argument("--update-url", default="", metavar="URL", help="where the channels are")
    build.add_argument("--output", type=Path, metavar="DIR", help="default: build/")
    build.add_argument("--print-recipe", action="store_true", help="show what would be built, stop")
    build.add_argument("--json", action="store_true", help="the summary as JSON on stdout")
    build.set_defaults(command=build_command)


def _add_vm(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    vm = commands.add_parser(
        "vm",
        help="boot the built image in QEMU",
        description="Boot the built image as a card would boot, with the wizard at "
        "http://localhost:8080. The card is kept in build/vm, so setup survives a restart; "
        "--fresh starts with a newly flashed one. Control-C ends it.",
    )
    vm.add_argument("--profile", default="hearth", help=argparse.SUPPRESS)
    vm.add_argument("--machine", choices=("virt", "raspi3b"), default="virt",
                    help="virt is quicker; raspi3b is a Pi 3 and very slow")  # fmt: skip
    vm.add_argument("--memory", type=int, default=2048, metavar="MB", help="default 2048 (virt)")
    vm.add_argument("--port", type=int, default=8080, help="host port of the wizard; 8080")
    vm.add_argument("--https-port", type=int, default=8443, help="host port of HTTPS; 8443")
    vm.add_argument("--ssh-port", type=int, default=2222, help="host port of SSH; 2222")
    vm.add_argument("--ssh-key", type=Path, metavar="FILE", help="public key: switches SSH on")
    vm.add_argument("--fresh", action="store_true", help="a newly flashed card")
    vm.set_defaults(command=vm_command)


def _add_small(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lock = commands.add_parser(
        "lock", help="write today's Debian package versions to the lock file (root)"
    )
    lock.add_argument("--profile", default="hearth", help="image/profiles/NAME.toml")
    lock.add_argument("--mirror", metavar="URI", help="a Debian mirror instead of the host's own")
    lock.set_defaults(command=lock_command)
    boards = commands.add_parser("boards", help="list the boards that the image starts on")
    boards.add_argument("board", nargs="?", help="one board's facts")
    boards.add_argument("--json", action="store_true")
    boards.set_defaults(command=boards_command)
    summary = commands.add_parser("summary", help="show the last build's manifest")
    summary.add_argument("--profile", default="hearth", help=argparse.SUPPRESS)
    summary.add_argument("--json", action="store_true", help="the whole manifest")
    summary.set_defaults(command=summary_command)


def _context(options: argparse.Namespace) -> Context:
    recipe = make_recipe(options.profile, mirror=getattr(options, "mirror", None))
    return make_context(recipe, build=getattr(options, "output", None))


def build_command(options: argparse.Namespace) -> int:
    recipe = make_recipe(
        options.profile,
        compression=options.compress,
        locked=options.locked,
        mirror=options.mirror,
        release=options.release,
        keyring=options.keyring,
        version=options.version,
        update_url=options.update_url,
    )
    if options.print_recipe:
        table = to_table(recipe)
        table.pop("source")
        print(json.dumps(table, indent=1, default=os.fspath))
        return 0
    check_host(options.output or recipe.source)
    context = make_context(recipe, build=options.output)
    summary = Summary()
    try:
        build_image(context, summary)
    finally:
        for made in (context.build, recipe.development_keys):
            give_to_caller(made)
    if options.json:
        print(json.dumps(summary.as_table(), indent=1))
    else:
        sys.stderr.write(summary.render() + "\n")
        print(context.compressed_image)
    return 0


def vm_command(options: argparse.Namespace) -> int:
    return run_vm(_context(options), options)


def lock_command(options: argparse.Namespace) -> int:
    context = _context(options)
    check_host(context.build)
    ensure_tools(context)
    packages = resolve(context)
    save_lock(packages, context.lock)
    give_to_caller(context.lock)
    print(f"{context.lock}: {len(packages.root) + len(packages.boot)} packages")
    return 0


def boards_command(options: argparse.Namespace) -> int:
    boards = [load_board(options.board)] if options.board else list(load_boards())
    if options.json:
        print(json.dumps([to_table(board) for board in boards], indent=1))
        return 0
    for board in boards:
        memory = "/".join(f"{size / 1024:g}" for size in board.memory_mb)
        print(f"{board.name:<12} {board.title:<46} {memory:>8} GB  {board.evidence}")
    return 0


def summary_command(options: argparse.Namespace) -> int:
    context = _context(options)
    manifest = context.build / f"{context.name}.json"
    if not manifest.exists():
        raise ImageError("nothing was built yet", hint="build it first: sudo image/build")
    if options.json:
        print(manifest.read_text(), end="")
        return 0
    table = json.loads(manifest.read_text())
    print(f"{table['name']}: kernel {table['kernel']}, {len(table['components'])} components")
    for artifact in table["artifacts"]:
        print(f"  {artifact['size'] / 1e6:8.1f} MB  {artifact['sha256'][:16]}  {artifact['file']}")
    return 0
