"""The options of `hearth flash`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pyudev

from appliance.errors import DiskError, UsageError
from appliance.tables import to_table
from imagebuild.context import Context, default_cache
from imagebuild.flash.capacity import will_hold_data
from imagebuild.flash.disk import Disk, check_disk, find_disk, find_obstacle, list_disks
from imagebuild.flash.flash import flash
from imagebuild.flash.preseed import add_options, make_preseed, make_preseeder
from imagebuild.flash.source import Source, load_source
from imagebuild.flash.watch import wait_for
from imagebuild.recipe import make_recipe

PATIENCE = 120  # seconds that a person may take to find the card
INTERRUPTED = 130


def add_flash(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "flash",
        help="write an image to a card and check it (root)",
        description="Write an image to a card or stick, read it back and eject it. Built-in and "
        "mounted disks and ones under 16 GB are refused; the disk's name is asked for before "
        "anything is written. Only what the block map beside the image lists is written.",
        epilog="examples:  hearth flash --list\n           sudo .venv/bin/hearth flash\n"
        "           sudo .venv/bin/hearth flash hearth-1.2.3-arm64.img.xz --disk sdb\n"
        "           sudo .venv/bin/hearth flash --hostname attic --ssh-key ~/.ssh/id_ed25519.pub\n"
        "           sudo .venv/bin/hearth flash --wifi 'Our home' --country DE",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("image", type=Path, nargs="?", help=".img, .img.xz or .img.zst; default: "
                        "the last one built")  # fmt: skip
    parser.add_argument("--disk", metavar="NAME", help="sdb, /dev/sdb; default: the only card")
    parser.add_argument("--list", action="store_true", help="show the disks that could be written")
    parser.add_argument("--json", action="store_true", help="with --list: as JSON")
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    parser.add_argument("--bmap", type=Path, metavar="FILE", help="default: beside the image")
    parser.add_argument("--no-bmap", action="store_true", help="write the empty blocks, too")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="for a card to be put in; "
                        f"default {PATIENCE} on a terminal, else 0")  # fmt: skip
    add_options(parser)
    parser.set_defaults(command=flash_command)


def flash_command(options: argparse.Namespace) -> int:
    udev = pyudev.Context()
    if options.list:
        return _list(udev, as_json=options.json)
    if options.json:
        raise UsageError("--json belongs to --list", hint="add --list, or leave --json out")
    recipe = make_recipe("hearth")
    context = Context(recipe, recipe.source / "build", default_cache())
    image = options.image or context.compressed_image
    source = load_source(image, block_map=options.bmap, use_map=not options.no_bmap)
    preseed = make_preseed(options)
    preseeder = make_preseeder(preseed, context.tools) if preseed is not None else None
    disk = _choose(udev, options)
    check_disk(disk, source.size or 0)
    keeps_data = will_hold_data(disk.node)
    _announce(disk, source, keeps_data=keeps_data)
    if options.dry_run:
        print("nothing was written (--dry-run)")
        return 0
    _confirm(disk, keeps_data=keeps_data)
    try:
        done = flash(udev, disk, source, context.tools, preseeder)
    except KeyboardInterrupt:
        sys.stderr.write(f"\ninterrupted; {disk.name} starts nothing now: flash it again\n")
        return INTERRUPTED
    away = "it is ejected; take it out" if done.ejected else "it may be taken out now"
    print(f"{disk.name} holds {image.name}, checked: {away}")
    return 0


def _list(udev: pyudev.Context, *, as_json: bool) -> int:
    disks = list_disks(udev)
    obstacles = {disk.name: found[0] for disk in disks if (found := find_obstacle(disk))}
    if as_json:
        rows = [{**to_table(disk), "obstacle": obstacles.get(disk.name)} for disk in disks]
        print(json.dumps(rows, indent=1, default=str))
        return 0
    for disk in disks:
        print(_line(disk))
        if disk.name in obstacles:
            print(f"{'':<10} not possible: {obstacles[disk.name]}")
    if not disks:
        print("no card or stick is plugged in")
    return 0


def _line(disk: Disk) -> str:
    what = " ".join(part for part in (disk.model, f"on {disk.port}" if disk.port else "") if part)
    return f"{disk.name:<10} {disk.size / 1e9:>6.1f} GB  {what}; {disk.describe_contents()}"


def _choose(udev: pyudev.Context, options: argparse.Namespace) -> Disk:
    """The disk that was named, or the only one there is. Raises DiskError."""
    if options.disk:
        return find_disk(udev, options.disk)
    patience = options.wait
    if patience is None:
        patience = PATIENCE if sys.stdin.isatty() else 0
    disks = _list_likely(udev)
    if not disks and patience > 0:
        sys.stderr.write(f"Put the card into the reader (waiting {patience:.0f} s).\n")
        disks = wait_for(udev, lambda: _list_likely(udev), patience) or []
    if not disks and (others := list_disks(udev)):
        message = f"no card or stick is plugged in, but {others[0].name}, which may be a hard disk"
        raise DiskError(message, hint=f"if it is the right one: --disk {others[0].name}")
    if not disks:
        raise DiskError("no card or stick is plugged in", hint="put the card in; or --wait 60")
    if len(disks) > 1:
        names = ", ".join(disk.name for disk in disks)
        message = f"there are several disks: {names}"
        raise DiskError(message, hint="name one with --disk; `hearth flash --list` shows them")
    return disks[0]


def _list_likely(udev: pyudev.Context) -> list[Disk]:
    return [disk for disk in list_disks(udev) if disk.is_likely_a_card]


def _announce(disk: Disk, source: Source, *, keeps_data: bool) -> None:
    print(_line(disk))
    size = f"{source.to_write / 1e6:.0f} MB" if source.to_write else "all"
    how = "by its block map" if source.block_map else "with its empty blocks: no block map"
    print(f"{source.image.name}: {size} to write, {how}")
    if keeps_data:
        print("It holds the data of an earlier Hearth, which stays: the first start offers it.")


def _confirm(disk: Disk, *, keeps_data: bool) -> None:
    """Raises UsageError unless its name is typed."""
    loss = "The system" if keeps_data else "Everything"
    sys.stdout.write(f"{loss} on {disk.name} will be lost. Type {disk.name} to go on: ")
    sys.stdout.flush()
    if sys.stdin.readline().strip() not in (disk.name, str(disk.node)):
        print()
        message = f"{disk.name!r} was not typed; nothing was written"
        raise UsageError(message, hint="`hearth flash --list` shows which disk is which")
